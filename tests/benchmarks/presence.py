"""Show what presence costs: `hatch run benchmark:presence`.

Ten thousand people come to four processes of a site, each of which has a page of their room. The
exit status is 1 if a page did not hear of each of them once.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.guides import TITLES, run
from benchmarks.survey.contenders import CONTENDERS, make_layer
from benchmarks.survey.services import redis_service
from support.processes import Remote, WorkerProcess
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from benchmarks.survey.services import RedisService

    Figures = dict[str, float]

T = TypeVar("T")

SCRIPT = Path(__file__).with_name("presence_process.py")
SERVERS = {"host": "one host", "shards": "three shards", "cluster": "Cluster"}
PROCESSES = 4
ROOM = "stadium"
WAVE, WAVE_SECONDS = 10_000, 1.0
CHANGES, LISTS = 1_000, 10
IDLE_SECONDS = 2.0
DEADLINE = 120.0  # seconds
KEYS = (b"people", b"heartbeats", b"groups")  # parts of the names of presence's
# The first cell of a row; its figure and unit.
ROWS = {
    "10,000 people join, in": ("wave_seconds", "s"),
    "all pages were told after": ("wave_told", "s"),
    "messages to each process": ("wave_messages", ""),
    "their bytes": ("wave_bytes", "bytes"),
    "CPU time of the server for each person": ("join_cpu", "s"),
    "a single change: CPU time of the server": ("change_cpu", "s"),
    "list of 10,000 people: CPU time of the server": ("list_cpu", "s"),
    "memory of the server for a person": ("person_memory", "bytes"),
}


class Site:
    """Four processes on the same servers."""

    def __init__(self, layer: str, service: RedisService) -> None:
        self._service = service
        self._processes: list[Remote] = []
        prefix = f"bench-{secrets.token_hex(4)}-"
        self._arguments = {"name": layer, "hosts": service.hosts, "prefix": prefix}
        made: Any = make_layer(CONTENDERS[layer], service.hosts, {"prefix": prefix})
        self._key_head: str = made.presence_key_head

    async def measure(self) -> Figures:
        """Let people come within a second, to all processes; then measure changes and lists."""
        async with AsyncExitStack() as stack:
            for _ in range(PROCESSES):
                worker = await WorkerProcess.fork(SCRIPT, **self._arguments)
                stack.push_async_callback(worker.close)
                self._processes.append(Remote(worker, DEADLINE))
            return await self._wave()

    async def _wave(self) -> Figures:
        share = WAVE // PROCESSES
        await self._each("watch", ROOM)
        await self._each("connect", share)
        memory = self._key_bytes()
        before = self._cpu()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (self._cpu() - before) / IDLE_SECONDS

        async def with_cpu(work: Awaitable[T]) -> tuple[T, float]:
            """Return the result of some work, and the CPU time of the servers for it."""
            before, began = self._cpu(), time.monotonic()
            result = await work
            return result, max(self._cpu() - before - idle * (time.monotonic() - began), 0.0)

        first = self._processes[0]
        shares = [range(start, start + share) for start in range(0, WAVE, share)]
        joins = asyncio.gather(
            *(
                process.call("join", ROOM, list(map(str, own)), WAVE_SECONDS)
                for process, own in zip(self._processes, shares, strict=True)
            )
        )
        times, join_cpu = await with_cpu(joins)
        await eventually(self._all_heard, timeout=DEADLINE)
        heard = await self._each("heard")
        person_memory = (self._key_bytes() - memory) / WAVE
        _, change_cpu = await with_cpu(first.call("change", ROOM, "0", CHANGES))
        _, list_cpu = await with_cpu(first.call("list", ROOM, LISTS))
        began = min(one for one, _ in times)
        return {
            "wave_seconds": max(one for _, one in times) - began,
            "wave_told": max(one["last"] for one in heard) - began,
            "wave_messages": max(one["messages"] for one in heard),
            "wave_bytes": max(one["bytes"] for one in heard),
            "wave_joins": min(one["joins"] for one in heard),
            "wave_most_joins": max(one["joins"] for one in heard),
            "join_cpu": join_cpu / WAVE,
            "person_memory": person_memory,
            "change_cpu": change_cpu / CHANGES,
            "list_cpu": list_cpu / LISTS,
        }

    async def _each(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method in all processes at once; return what each returned."""
        return await asyncio.gather(*(one.call(method, *arguments) for one in self._processes))

    async def _all_heard(self) -> bool:
        """Return whether each page knows of all people."""
        return all(one["people"] == WAVE for one in await self._each("heard"))

    def _key_bytes(self) -> int:
        """Return the memory that the servers need for presence's keys."""
        total = 0
        for server in self._service.servers:
            with server.client() as client:
                for key in client.scan_iter(f"{self._key_head}*", count=1000):
                    if any(part in key for part in KEYS):
                        total += client.memory_usage(key, samples=0)
        return total

    def _cpu(self) -> float:
        """Return the CPU time that the servers have used."""
        return self._service.counters()["server_cpu"]


def heard_once(figures: Mapping[str, float]) -> bool:
    """Return whether each page heard of each person once."""
    return figures["wave_joins"] == figures["wave_most_joins"] == WAVE


def measured() -> Iterator[tuple[str, str, Figures]]:
    """Measure each layer on each kind of servers."""
    for layer, title in TITLES.items():
        for servers, words in SERVERS.items():
            shards = 3 if servers == "shards" else 1
            with redis_service(shards=shards, cluster=servers == "cluster") as service:
                figures = asyncio.run(Site(layer, service).measure())
                yield f"{title}, {words}", service.software, figures


if __name__ == "__main__":
    columns = run("presence", ROWS, measured())
    sys.exit(not all(map(heard_once, columns.values())))
