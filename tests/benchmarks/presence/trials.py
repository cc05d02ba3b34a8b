"""The trials; each returns figures, in seconds, in bytes or as numbers."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from benchmarks.presence.fleet import Fleet, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.presence.fleet import Plan
    from benchmarks.survey.services import RedisService

T = TypeVar("T")

STADIUM = "stadium"  # the room of the wave
IDLE_SECONDS = 2.0
LISTS = 10
WAVE_SECONDS = 1.0


async def run(layer: str, service: RedisService, plan: Plan) -> dict[str, float]:
    """Try everything with a layer on some servers."""
    figures: dict[str, float] = {}
    service.empty()
    async with Fleet(layer, service, plan) as fleet:
        figures |= await wave(fleet)
    service.empty()
    async with Fleet(layer, service, plan) as fleet:
        await fill(fleet)
        for trial in (move, kill, lose_data):
            figures |= await trial(fleet)
    return figures


async def wave(fleet: Fleet) -> dict[str, float]:
    """Let people come within a second, to all processes; then measure single changes and lists."""
    plan, members = fleet.plan, fleet.members
    share = plan.wave // len(members)
    people = [
        [(STADIUM, str(share * process + number)) for number in range(share)]
        for process in range(len(members))
    ]
    await fleet.each("watch", [STADIUM])
    await fleet.each("connect", share)
    await fleet.settle([STADIUM])
    memory = fleet.key_bytes()
    fleet.forget()
    idle = await _idle_cpu(fleet)

    async def come() -> list[tuple[float, float]]:
        calls = (
            member.call("join", own, WAVE_SECONDS)
            for member, own in zip(members, people, strict=True)
        )
        times: list[tuple[float, float]] = await asyncio.gather(*calls)
        return times

    joined, cpu = await _with_cpu(fleet, idle, come)
    began, ended = min(one for one, _ in joined), max(one for _, one in joined)
    everyone = [person for own in people for person in own]
    fleet.present.update(everyone)
    await fleet.until_told("joins", everyone)
    told = max(max(at for *_, at in member.events) for member in members)
    figures = {
        "wave_people": len(everyone),
        "wave_seconds": ended - began,
        "wave_told": told - began,
        "wave_messages": max(member.messages for member in members),
        "wave_bytes": max(member.bytes for member in members),
        "wave_joins": min(member.count("joins", everyone) for member in members),
        "wave_most_joins": max(member.count("joins", everyone) for member in members),
        "join_cpu": cpu / len(everyone),
        "person_memory": (fleet.key_bytes() - memory) / len(everyone),
    }
    one = people[0][0]

    async def change() -> None:
        await members[0].call("change", *one, plan.changes)

    async def look() -> None:
        for _ in range(LISTS):
            await members[0].call("list", [STADIUM])

    figures["change_cpu"] = (await _with_cpu(fleet, idle, change))[1] / plan.changes
    figures["list_cpu"] = (await _with_cpu(fleet, idle, look))[1] / LISTS
    return figures


async def fill(fleet: Fleet) -> None:
    """Let people into the rooms of all processes, and pages watch them."""
    await fleet.each("watch", fleet.plan.room_names)
    await asyncio.gather(*(_fill(fleet, number) for number in range(len(fleet.members))))
    await fleet.settle(fleet.plan.room_names)


async def move(fleet: Fleet) -> dict[str, float]:
    """Let the pages of people connect to another process within the grace."""
    rooms = fleet.plan.room_names
    moving = [(room, f"moving{number}") for room in rooms for number in range(10)]
    old, new, *_ = fleet.members
    await fleet.join(old, moving)
    await fleet.until_told("joins", moving)
    fleet.forget()
    await old.call("leave", moving)
    await new.call("join", moving)

    async def all_have_moved() -> bool:
        listed = await new.call("list", rooms)
        return all(listed[room][0][key] == 1 for room, key in moving)

    await until(all_have_moved)
    await fleet.settle(rooms)
    events = sum(
        member.count(kind, moving) for member in fleet.members for kind in ("joins", "leaves")
    )
    return {"moved": len(moving), "move_events": events}


async def kill(fleet: Fleet) -> dict[str, float]:
    """Kill one of the processes, whose people leave: except for those with a tab elsewhere."""
    victim = fleet.members[-1]
    elsewhere = [
        (room, f"elsewhere{number}") for room in fleet.plan.room_names for number in (0, 1)
    ]
    await fleet.join(fleet.members[0], elsewhere)
    await victim.call("join", elsewhere)
    await fleet.settle(fleet.plan.room_names)
    fleet.forget()
    began = time.monotonic()
    await fleet.kill(victim)
    return await _leaves(fleet, _gone(fleet, len(fleet.members)), elsewhere, began)


async def lose_data(fleet: Fleet) -> dict[str, float]:
    """Empty the servers while people come, and wait until all lists are right again."""
    rooms = fleet.plan.room_names
    await fleet.start()
    number = len(fleet.members) - 1
    await fleet.members[number].call("watch", rooms)
    await _fill(fleet, number)
    await fleet.settle(rooms)
    fleet.forget()
    joins = [
        asyncio.ensure_future(
            fleet.join(member, [(room, f"late{process}") for room in rooms], WAVE_SECONDS)
        )
        for process, member in enumerate(fleet.members)
    ]
    await asyncio.sleep(WAVE_SECONDS / 2)
    fleet.service.empty()
    began = time.monotonic()
    await asyncio.gather(*joins)

    await until(partial(fleet.is_right, rooms))
    right = time.monotonic() - began
    await asyncio.gather(*(member.collect() for member in fleet.members))
    leaves = sum(len(member.times("leaves")) for member in fleet.members)
    return {"loss_people": len(fleet.present), "loss_right": right, "loss_leaves": leaves}


async def _fill(fleet: Fleet, number: int) -> None:
    plan = fleet.plan
    people = [
        (room, f"{number}-{place}")
        for place in range(plan.people // plan.rooms)
        for room in plan.room_names
    ]
    await fleet.join(fleet.members[number], people)


def _gone(fleet: Fleet, number: int) -> list[tuple[str, str]]:
    """Take the people of a killed process out of the people of the site, and return them."""
    gone = [
        (room, key)
        for room, key in fleet.present
        if key.startswith(f"{number}-") or (key.startswith("fence") and key.endswith(f"-{number}"))
    ]
    fleet.present.difference_update(gone)
    return gone


async def _leaves(
    fleet: Fleet,
    gone: list[tuple[str, str]],
    elsewhere: list[tuple[str, str]],
    began: float,
) -> dict[str, float]:
    """Wait until people have left, and count how often each process was told so."""
    await fleet.until_told("leaves", gone)
    await fleet.settle(fleet.plan.room_names)
    leaves = [member.times("leaves") for member in fleet.members]
    last = max(max(times[person][-1] for person in gone) for times in leaves)
    return {
        "kill_people": len(gone),
        "kill_last": last - began,
        "kill_leaves": min(member.count("leaves", gone) for member in fleet.members),
        "kill_most_leaves": max(member.count("leaves", gone) for member in fleet.members),
        "kill_wrong": sum(
            member.count("leaves", {*fleet.present, *elsewhere}) for member in fleet.members
        ),
        "kill_wrong_lists": not await fleet.is_right(fleet.plan.room_names),
    }


async def _idle_cpu(fleet: Fleet) -> float:
    """Return the CPU time that the servers use in a second without work."""
    before = fleet.service.counters()["server_cpu"]
    await asyncio.sleep(IDLE_SECONDS)
    return (fleet.service.counters()["server_cpu"] - before) / IDLE_SECONDS


async def _with_cpu(fleet: Fleet, idle: float, work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    """Do some work; return its result and the CPU time of the servers for it."""
    before, began = fleet.service.counters()["server_cpu"], time.monotonic()
    result = await work()
    used = fleet.service.counters()["server_cpu"] - before
    return result, max(used - idle * (time.monotonic() - began), 0.0)
