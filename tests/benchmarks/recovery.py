"""Show what groups with a history cost: `hatch run benchmark:recovery`."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.guides import TITLES, run
from benchmarks.survey.consumers import listening
from benchmarks.survey.contenders import CONTENDERS, make_layer
from benchmarks.survey.services import redis_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.survey.services import RedisService

GROUP = "kept.room"
HISTORY = {"history": {"kept.*": {"size": 100, "ttl": 300}}}
BROWSERS = 10_000
AT_ONCE = 100  # browsers whose connections arrive in one turn of the event loop
MISSED = 20  # messages
MESSAGES = 2_000
IN_FLIGHT = 100
ROUNDS = 5
PAYLOAD = "x" * 130  # some 150 bytes as a message
# The first cell of a row; its figure and unit.
ROWS = {
    "10,000 browsers resume, each after 20 messages: all have them after": ("resume_seconds", "s"),
    "reads of the history for that": ("resume_reads", ""),
    "`group_send` one by one, without a history": ("plain_one", "s"),
    "`group_send` one by one, with a history": ("kept_one", "s"),
    "100 at a time: each without a history": ("plain_many", "s"),
    "100 at a time: each with a history": ("kept_many", "s"),
    "CPU time of the server for each of these, without a history": ("plain_cpu", "s"),
    "CPU time of the server for each of these, with a history": ("kept_cpu", "s"),
    "memory of a group's history after one message": ("memory_one", "bytes"),
    "after 100 messages of 150 bytes": ("memory_full", "bytes"),
}


async def resume(layer: Any, service: RedisService) -> dict[str, float]:
    """Let browsers come back at once that have all missed the same messages."""
    first = await layer.new_channel()
    position = (await layer.group_add(GROUP, first)).position
    for number in range(MISSED):
        await layer.group_send(GROUP, {"type": "room.message", "number": number})
    for _ in range(MISSED):
        await layer.receive(first)
    channels = [await layer.new_channel() for _ in range(BROWSERS)]
    reads = _reads(service)
    began = time.perf_counter()

    async def come_back(channel: str) -> list[int]:
        joined = await layer.group_add(GROUP, channel, since=position)
        assert joined.recovered
        return [(await layer.receive(channel))["number"] for _ in range(MISSED)]

    returning = []
    for start in range(0, BROWSERS, AT_ONCE):
        returning += [
            asyncio.ensure_future(come_back(one)) for one in channels[start : start + AT_ONCE]
        ]
        await asyncio.sleep(0)
    got = await asyncio.gather(*returning)
    seconds = time.perf_counter() - began
    assert all(numbers == list(range(MISSED)) for numbers in got)
    return {
        "resume_browsers": BROWSERS,
        "resume_seconds": seconds,
        "resume_reads": _reads(service) - reads,
    }


def _reads(service: RedisService) -> int:
    """Return how many ranges of streams the servers have read."""
    total = 0
    for server in service.servers:
        with server.client() as client:
            total += client.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"]
    return total


async def publish(layer: Any, group: str, service: RedisService) -> list[float]:
    """Return the seconds of each `group_send`, alone and of many, and the server's for one."""
    message = {"type": "room.message", "text": PAYLOAD}
    for _ in range(IN_FLIGHT):
        await layer.group_send(group, message)
    began = time.perf_counter()
    for _ in range(MESSAGES):
        await layer.group_send(group, message)
    one = (time.perf_counter() - began) / MESSAGES
    cpu, began = service.counters()["server_cpu"], time.perf_counter()
    for _ in range(MESSAGES // IN_FLIGHT * 10):
        await asyncio.gather(*(layer.group_send(group, message) for _ in range(IN_FLIGHT)))
    count = 10 * MESSAGES
    many = (time.perf_counter() - began) / count
    return [one, many, (service.counters()["server_cpu"] - cpu) / count]


async def costs(layer: Any, service: RedisService) -> dict[str, float]:
    """Send to a group with a history and to one without, in turn."""
    figures: dict[str, float] = {}
    groups = {"plain": "plain.room", "kept": "kept.costs"}
    channels = [await layer.new_channel() for _ in groups]
    for group, channel in zip(groups.values(), channels, strict=True):
        await layer.group_add(group, channel)
    rounds: dict[str, list[list[float]]] = {name: [] for name in groups}
    async with listening(layer, channels):
        for _ in range(ROUNDS):
            for name, group in groups.items():
                rounds[name].append(await publish(layer, group, service))
    for name, found in rounds.items():
        for what, values in zip(("one", "many", "cpu"), zip(*found, strict=True), strict=True):
            figures[f"{name}_{what}"] = statistics.median(values)
    return figures


async def memory(layer: Any, service: RedisService) -> dict[str, float]:
    """Count the bytes of the keys of a group's history."""
    channel = await layer.new_channel()
    await layer.group_add("kept.memory", channel)
    message = {"type": "room.message", "text": PAYLOAD}
    await layer.group_send("kept.memory", message)
    first = _history_bytes(service)
    for _ in range(99):
        await layer.group_send("kept.memory", message)
        await layer.receive(channel)
    return {"memory_one": first, "memory_full": _history_bytes(service)}


def _history_bytes(service: RedisService) -> int:
    total = 0
    for server in service.servers:
        with server.client() as client:
            keys = [
                key
                for key in client.scan_iter(match="*kept.memory*")
                if b"history" in key or b"position" in key
            ]
            total += sum(int(client.memory_usage(key) or 0) for key in keys)
    return total


async def measure(name: str, service: RedisService) -> dict[str, float]:
    """Measure everything on one layer."""
    figures: dict[str, float] = {}
    for trial in (memory, resume, costs):
        service.empty()
        options = {**HISTORY, "prefix": f"bench-{secrets.token_hex(4)}"}
        layer: Any = make_layer(CONTENDERS[name], service.hosts, options)
        figures |= await trial(layer, service)
        await layer.close_pools()
    return figures


def measured() -> Iterator[tuple[str, str, dict[str, float]]]:
    """Measure both layers on one server."""
    with redis_service(shards=1, cluster=False) as service:
        for name, title in TITLES.items():
            yield title, service.software, asyncio.run(measure(name, service))


if __name__ == "__main__":
    run("recovery", ROWS, measured())
