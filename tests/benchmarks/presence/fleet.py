"""The processes of a site, on the same servers."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.processes import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from typing_extensions import Self

    from benchmarks.presence.worker import Person
    from benchmarks.survey.services import RedisService

SCRIPT = Path(__file__).with_name("worker.py")
PROCESSES = 4
# By the names that results have for them.
LAYERS = {
    "queue": ("channels_redis_queue", "RedisChannelLayer"),
    "pubsub": ("channels_redis_pubsub", "RedisPubSubChannelLayer"),
}
ANSWER_SECONDS = 120.0  # for what should take a few
EVENT_SECONDS = 120.0  # a killed process is found within 80
KEYS = (b"people", b"heartbeats", b"canary.", b"groups.")  # parts of the names of presence's
LOOK_SECONDS = 0.2  # between two looks, which cost the processes some work


@dataclass(frozen=True)
class Plan:
    """The size of a run; the defaults are what the documentation promises something about.

    Args:
        people: In each process.
        rooms: Of these people, who are spread evenly.
        wave: The people who come within a second, in all processes together.
        changes: Changes of a person, one after the other.
        intervals: Constants of presence to change; none in a real run.
        options: Those of `Presence`; none in a real run.
    """

    people: int = 1000
    rooms: int = 10
    wave: int = 10_000
    changes: int = 1000
    intervals: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def room_names(self) -> list[str]:
        """The names of the rooms."""
        return [f"room{number}" for number in range(self.rooms)]


class Member:
    """A process of the site, and all that its pages were told."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        # Each with the kind, the room, the person and the time.
        self.events: list[tuple[str, str, str, float]] = []
        self.messages = 0
        self.bytes = 0

    async def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method of `worker.Process` returns there."""
        await self.worker.send(method=method, arguments=arguments)
        return (await self.worker.read(ANSWER_SECONDS))["result"]

    async def collect(self) -> None:
        """Add what the pages were told since the last call."""
        told = await self.call("told")
        self.events += [tuple(event) for event in told["events"]]
        self.messages += told["messages"]
        self.bytes += told["bytes"]

    def times(self, kind: str) -> dict[tuple[str, str], list[float]]:
        """Return when the pages were told of each person's joins, or of the leaves."""
        found: dict[tuple[str, str], list[float]] = {}
        for one, room, key, at in self.events:
            if one == kind:
                found.setdefault((room, key), []).append(at)
        return found

    def count(self, kind: str, people: Iterable[Person]) -> int:
        """Return the number of joins, or of leaves, of some people."""
        counts = Counter((room, key) for one, room, key, _ in self.events if one == kind)
        return sum(counts[room, key] for room, key in people)


class Fleet:
    """Four processes of a site. Use it in an `async with`.

    Args:
        layer: One of `LAYERS`.
        service: The servers.
        plan: How much there is of all.
    """

    def __init__(self, layer: str, service: RedisService, plan: Plan) -> None:
        self.plan = plan
        self.service = service
        package, name = LAYERS[layer]
        prefix = f"bench-{secrets.token_hex(4)}-"
        self._arguments: dict[str, Any] = {
            "package": package,
            "layer": name,
            "hosts": service.hosts,
            "prefix": prefix,
            "intervals": dict(plan.intervals),
            "options": dict(plan.options),
        }
        found = getattr(importlib.import_module(package), name)
        self.key_head = found(hosts=service.hosts, prefix=prefix).presence_key_head
        self.members: list[Member] = []
        # The people in all processes.
        self.present: set[tuple[str, str]] = set()
        self._fences = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(self.start() for _ in range(PROCESSES)))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(self) -> Member:
        """Start a process."""
        worker = await WorkerProcess.fork(SCRIPT, **self._arguments)
        self._stack.push_async_callback(worker.close)
        self.members.append(Member(worker))
        return self.members[-1]

    async def kill(self, member: Member) -> None:
        """End a process with SIGKILL."""
        self.members.remove(member)
        await member.worker.kill()

    async def each(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method in all processes at once; return what each returned."""
        return await asyncio.gather(*(one.call(method, *arguments) for one in self.members))

    async def join(self, member: Member, people: Sequence[Person], seconds: float = 0) -> None:
        """Let people come to a process."""
        await member.call("join", people, seconds)
        self.present.update((room, key) for room, key in people)

    async def settle(self, rooms: Sequence[str]) -> None:
        """Wait until all has been told that processes had to tell before now."""
        self._fences += 1
        fences = []
        for number, member in enumerate(self.members):
            # A process tells the changes of a room in their order.
            own = [(room, f"fence{self._fences}-{number}") for room in rooms]
            await self.join(member, own)
            fences += own
        await self.until_told("joins", fences)

    async def until_told(self, kind: str, people: Sequence[Person]) -> None:
        """Wait until the pages of all processes were told of these people."""
        wanted = {(room, key) for room, key in people}

        async def all_were() -> bool:
            await asyncio.gather(*(member.collect() for member in self.members))
            return all(wanted <= member.times(kind).keys() for member in self.members)

        await until(all_were)

    def forget(self) -> None:
        """Forget what the pages were told up to now."""
        for member in self.members:
            member.events.clear()
            member.messages = member.bytes = 0

    async def is_right(self, rooms: Sequence[str]) -> bool:
        """Return whether all processes list and count just the people who are there."""
        expected = {room: {key for one, key in self.present if one == room} for room in rooms}
        for listed in await self.each("list", rooms):
            for room, (people, count) in listed.items():
                if people.keys() != expected[room] or count != len(expected[room]):
                    return False
        return True

    def key_bytes(self) -> int:
        """Return the memory that the servers need for presence's keys."""
        total = 0
        for server in self.service.servers:
            with server.client() as client:
                for key in client.scan_iter(f"{self.key_head}*", count=1000):
                    if any(part in key for part in KEYS):
                        total += client.memory_usage(key, samples=0)
        return total


async def until(predicate: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: It did not become true.
    """
    deadline = time.monotonic() + EVENT_SECONDS
    while not await predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{predicate} was not true within {EVENT_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)
