"""Show what presence does and costs: `hatch run benchmark:presence`.

Four processes of a site have people in their rooms, and a page in each room. The exit status is 1
if a promise of the documentation is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import secrets
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.conditions import conditions
from benchmarks.survey.report import amount
from benchmarks.survey.services import redis_service
from support.processes import Remote, WorkerProcess
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Self

    from benchmarks.survey.services import RedisService

    Figures = dict[str, float]

T = TypeVar("T")
Person = tuple[str, str]  # a room and a key

SCRIPT = Path(__file__).with_name("presence_process.py")
SERVERS = {"host": "one host", "shards": "three shards", "cluster": "Cluster"}
TITLES = {"queue": "queue", "pubsub": "Pub/Sub"}
LAYERS = {
    "queue": ("channels_redis_queue", "RedisChannelLayer"),
    "pubsub": ("channels_redis_pubsub", "RedisPubSubChannelLayer"),
}
PROCESSES = 4
PEOPLE = 1_000  # in each process
ROOMS = [f"room{number}" for number in range(10)]
STADIUM = "stadium"  # the room of the wave
WAVE, WAVE_SECONDS = 10_000, 1.0
CHANGES, LISTS = 1_000, 10
IDLE_SECONDS = 2.0
DEADLINE = 120.0  # seconds; a killed process is found within 80
KEYS = (b"people", b"heartbeats", b"canary.", b"groups.")  # parts of the names of presence's
# The promises: figures that have to be equal, and those with a maximum.
EQUAL = {
    "kill_leaves": "kill_people",
    "kill_most_leaves": "kill_people",
    "wave_joins": "wave_people",
    "wave_most_joins": "wave_people",
}
MAXIMUMS = {
    "kill_last": 80,
    "kill_wrong": 0,
    "kill_wrong_lists": 0,
    "move_events": 0,
    "loss_right": 60,
    "loss_leaves": 0,
}
# The first cell of a row; its figure and unit.
ROWS = {
    "a process with 1,000 people is killed: all have left after": ("kill_last", "s"),
    "leaves of each, in each other process": ("kill_times", ""),
    "100 people move to another process: joins and leaves": ("move_events", ""),
    "the server is emptied: all lists are right after": ("loss_right", "s"),
    "10,000 people join, in": ("wave_seconds", "s"),
    "all pages were told after": ("wave_told", "s"),
    "messages to each process": ("wave_messages", ""),
    "their bytes": ("wave_bytes", "bytes"),
    "CPU time of the server for each person": ("join_cpu", "s"),
    "a single change: CPU time of the server": ("change_cpu", "s"),
    "list of 10,000 people: CPU time of the server": ("list_cpu", "s"),
    "memory of the server for a person": ("person_memory", "bytes"),
}


class Process(Remote):
    """A process of the site, and when its pages heard of each join and leave."""

    def __init__(self, worker: WorkerProcess) -> None:
        super().__init__(worker, DEADLINE)
        self.clear()

    def clear(self) -> None:
        """Drop what the pages have heard so far."""
        self.heard: dict[str, dict[Person, list[float]]] = {
            "joins": defaultdict(list),
            "leaves": defaultdict(list),
        }
        self.messages = self.bytes = 0

    async def collect(self) -> None:
        """Add what the pages have heard since the last call."""
        found = await self.call("heard")
        for kind, room, key, at in found["events"]:
            self.heard[kind][room, key].append(at)
        self.messages += found["messages"]
        self.bytes += found["bytes"]

    def count(self, kind: str, people: Iterable[Person]) -> int:
        """Return the number of joins, or of leaves, of some people."""
        return sum(len(self.heard[kind].get(person, ())) for person in people)


class Site:
    """Four processes on the same servers. Use it in an `async with`."""

    def __init__(self, layer: str, service: RedisService) -> None:
        package, name = LAYERS[layer]
        self.service = service
        self.processes: list[Process] = []
        # All people, each with one of the processes that they are in.
        self.present: dict[Person, Process] = {}
        options = {"hosts": service.hosts, "prefix": f"bench-{secrets.token_hex(4)}-"}
        self._arguments = {"package": package, "layer": name, "options": options}
        layer_class = getattr(importlib.import_module(package), name)
        self._key_head: str = layer_class(**options).presence_key_head
        self._fences = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(self.start() for _ in range(PROCESSES)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(self) -> Process:
        """Start a process."""
        worker = await WorkerProcess.fork(SCRIPT, **self._arguments)
        self._stack.push_async_callback(worker.close)
        self.processes.append(Process(worker))
        return self.processes[-1]

    async def each(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method in all processes at once; return what each returned."""
        return await asyncio.gather(*(one.call(method, *arguments) for one in self.processes))

    async def join(self, process: Process, people: Sequence[Person], seconds: float = 0) -> Any:
        """Let people come to a process; return when that began and ended."""
        self.present |= dict.fromkeys(people, process)
        return await process.call("join", people, seconds)

    async def fill(self, process: Process) -> None:
        """Let people into the rooms of a process."""
        name = self.processes.index(process)
        people = [(room, f"{name}-{at}") for at in range(PEOPLE // len(ROOMS)) for room in ROOMS]
        await self.join(process, people)

    async def settle(self) -> None:
        """Wait until the pages have heard of all that happened before."""
        self._fences += 1
        fences: list[Person] = []
        for number, process in enumerate(self.processes):
            # A process sends the changes of a room in their order.
            own = [(room, f"fence{self._fences}-{number}") for room in ROOMS]
            await self.join(process, own)
            fences += own
        await self.until_heard("joins", fences)

    async def until_heard(self, kind: str, people: Iterable[Person]) -> None:
        """Wait until the pages of all processes have heard of these people."""
        wanted = set(people)

        async def all_have() -> bool:
            await asyncio.gather(*(process.collect() for process in self.processes))
            return all(wanted <= process.heard[kind].keys() for process in self.processes)

        await eventually(all_have, timeout=DEADLINE)

    def clear(self) -> None:
        """Drop what all pages have heard so far."""
        for process in self.processes:
            process.clear()

    async def is_right(self) -> bool:
        """Return whether all processes list and count just the people who are there."""
        expected = {room: {key for one, key in self.present if one == room} for room in ROOMS}
        return all(
            people.keys() == expected[room] and count == len(expected[room])
            for listed in await self.each("list", ROOMS)
            for room, (people, count) in listed.items()
        )

    def key_bytes(self) -> int:
        """Return the memory that the servers need for presence's keys."""
        total = 0
        for server in self.service.servers:
            with server.client() as client:
                for key in client.scan_iter(f"{self._key_head}*", count=1000):
                    if any(part in key for part in KEYS):
                        total += client.memory_usage(key, samples=0)
        return total

    def cpu(self) -> float:
        """Return the CPU time that the servers have used."""
        return self.service.counters()["server_cpu"]


async def run(layer: str, service: RedisService) -> Figures:
    """Try everything with a layer on some servers."""
    figures: Figures = {}
    for trials in ((wave,), (move, kill, lose_data)):
        service.empty()
        async with Site(layer, service) as site:
            await site.each("watch", [*ROOMS, STADIUM])
            for trial in trials:
                figures |= await trial(site)
    return figures


async def wave(site: Site) -> Figures:
    """Let people come within a second, to all processes; then measure single changes and lists."""
    processes, share = site.processes, WAVE // PROCESSES
    shares = [
        [(STADIUM, str(number)) for number in range(start, start + share)]
        for start in range(0, WAVE, share)
    ]
    everyone = [person for own in shares for person in own]
    await site.each("connect", share)
    await site.settle()
    memory = site.key_bytes()
    site.clear()
    before = site.cpu()
    await asyncio.sleep(IDLE_SECONDS)
    idle = (site.cpu() - before) / IDLE_SECONDS

    async def with_cpu(work: Awaitable[T]) -> tuple[T, float]:
        """Return the result of some work, and the CPU time of the servers for it."""
        before, began = site.cpu(), time.monotonic()
        result = await work
        return result, max(site.cpu() - before - idle * (time.monotonic() - began), 0.0)

    joins = [
        site.join(process, own, WAVE_SECONDS)
        for process, own in zip(processes, shares, strict=True)
    ]
    times, join_cpu = await with_cpu(asyncio.gather(*joins))
    await site.until_heard("joins", everyone)
    person_memory = (site.key_bytes() - memory) / WAVE
    _, change_cpu = await with_cpu(processes[0].call("change", *everyone[0], CHANGES))
    _, list_cpu = await with_cpu(processes[0].call("list", [STADIUM] * LISTS))
    began = min(one for one, _ in times)
    counts = [process.count("joins", everyone) for process in processes]
    last = max(at for process in processes for ats in process.heard["joins"].values() for at in ats)
    return {
        "wave_people": WAVE,
        "wave_seconds": max(one for _, one in times) - began,
        "wave_told": last - began,
        "wave_messages": max(process.messages for process in processes),
        "wave_bytes": max(process.bytes for process in processes),
        "wave_joins": min(counts),
        "wave_most_joins": max(counts),
        "join_cpu": join_cpu / WAVE,
        "person_memory": person_memory,
        "change_cpu": change_cpu / CHANGES,
        "list_cpu": list_cpu / LISTS,
    }


async def move(site: Site) -> Figures:
    """Let the pages of people connect to another process within the grace."""
    await asyncio.gather(*map(site.fill, site.processes))
    await site.settle()
    moving = [(room, f"moving{number}") for room in ROOMS for number in range(10)]
    old, new, *_ = site.processes
    await site.join(old, moving)
    await site.until_heard("joins", moving)
    site.clear()
    await old.call("leave", moving)
    await site.join(new, moving)

    async def all_have_moved() -> bool:
        listed = await new.call("list", ROOMS)
        return all(listed[room][0][key] == 1 for room, key in moving)

    await eventually(all_have_moved, timeout=DEADLINE)
    await site.settle()
    events = sum(one.count(kind, moving) for one in site.processes for kind in ("joins", "leaves"))
    return {"moved": len(moving), "move_events": events}


async def kill(site: Site) -> Figures:
    """Kill one of the processes, whose people leave: except for those with a tab elsewhere."""
    victim = site.processes[-1]
    elsewhere = [(room, f"elsewhere{number}") for room in ROOMS for number in (0, 1)]
    await victim.call("join", elsewhere)
    await site.join(site.processes[0], elsewhere)
    await site.settle()
    site.clear()
    began = time.monotonic()
    site.processes.remove(victim)
    await victim.worker.kill()
    gone = [person for person, process in site.present.items() if process is victim]
    for person in gone:
        del site.present[person]
    await site.until_heard("leaves", gone)
    await site.settle()
    counts = [process.count("leaves", gone) for process in site.processes]
    return {
        "kill_people": len(gone),
        "kill_last": max(one.heard["leaves"][who][-1] for one in site.processes for who in gone)
        - began,
        "kill_leaves": min(counts),
        "kill_most_leaves": max(counts),
        "kill_wrong": sum(process.count("leaves", site.present) for process in site.processes),
        "kill_wrong_lists": not await site.is_right(),
    }


async def lose_data(site: Site) -> Figures:
    """Empty the servers while people come, and wait until all lists are right again."""
    new = await site.start()
    await new.call("watch", ROOMS)
    await site.fill(new)
    await site.settle()
    site.clear()
    joins = [
        asyncio.ensure_future(
            site.join(process, [(room, f"late{number}") for room in ROOMS], WAVE_SECONDS)
        )
        for number, process in enumerate(site.processes)
    ]
    await asyncio.sleep(WAVE_SECONDS / 2)
    site.service.empty()
    began = time.monotonic()
    await asyncio.gather(*joins)
    await eventually(site.is_right, timeout=DEADLINE)
    right = time.monotonic() - began
    await asyncio.gather(*(process.collect() for process in site.processes))
    leaves = sum(len(process.heard["leaves"]) for process in site.processes)
    return {"loss_people": len(site.present), "loss_right": right, "loss_leaves": leaves}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as a table in Markdown, a column for each layer and kind of servers."""
    heads = [f"{TITLES[row['layer']]}, {SERVERS[row['servers']]}" for row in rows]
    lines = [["", *heads], ["---", *("---:" for _ in heads)]]
    for title, (name, unit) in ROWS.items():
        lines.append([title, *(_cell(row["figures"], name, unit) for row in rows)])
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def _cell(figures: Mapping[str, float], name: str, unit: str) -> str:
    if name != "kill_times":
        return amount(figures[name], unit)
    least, most = (
        figures[f"kill_{what}"] / figures["kill_people"] for what in ("leaves", "most_leaves")
    )
    return amount(least, "") if least == most else f"{least:g} to {most:g}"


def broken(figures: Mapping[str, float]) -> Iterator[str]:
    """Yield each promise of the documentation that the figures of a row break."""
    for name, other in EQUAL.items():
        if figures[name] != figures[other]:
            yield f"{name} is {figures[name]:g}, not {figures[other]:g}"
    for name, maximum in MAXIMUMS.items():
        if figures[name] > maximum:
            yield f"{name} is {figures[name]:g}, more than {maximum}"


def main() -> int:
    """Try what the arguments ask for, show it, and return the exit status."""
    parser = argparse.ArgumentParser(prog="hatch run benchmark:presence", description=__doc__)
    parser.add_argument("--layers", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures in this file")
    options = parser.parse_args()
    found: dict[str, Any] = {"conditions": conditions(), "rows": []}
    problems = 0
    for servers in options.servers:
        shards = 3 if servers == "shards" else 1
        with redis_service(shards=shards, cluster=servers == "cluster") as service:
            found["conditions"]["servers"] = service.software
            for layer in options.layers:
                figures = asyncio.run(run(layer, service))
                found["rows"].append({"layer": layer, "servers": servers, "figures": figures})
                for problem in broken(figures):
                    problems += 1
                    sys.stderr.write(f"{layer}, {SERVERS[servers]}: {problem}\n")
    found["rows"].sort(key=lambda row: list(LAYERS).index(row["layer"]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(found['rows'])}\n")
    return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main())
