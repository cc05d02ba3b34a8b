"""Two processes on the same servers: one with our layer, one with that of `channels_redis` 4."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.environments import channels_redis_4
from support.processes import Remote, WorkerProcess
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


SCRIPT = Path(__file__).parents[1] / "interop" / "layer_process.py"
OURS = {
    "queue": "channels_redis_queue.RedisChannelLayer",
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
}
THEIRS = {
    "queue": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
DEADLINE = 30.0  # seconds for what should take a few; machines that run tests are busy


class Process(Remote):
    """A layer in its own process, and what `layer_process.Inbox` receives there."""

    async def channel(self) -> str:
        """Return a new channel, on which the process receives."""
        name: str = await self.call("new_channel")
        await self.call("listen", name)
        return name

    async def got(self, expected: Mapping[str, list[Any]]) -> None:
        """Return when each channel has received this much, and check that it is just this."""
        for name, messages in expected.items():
            assert await received(name, len(messages), self) == [messages]


async def received(channel: str, count: int, *processes: Process) -> list[list[Any]]:
    """Return what each process received on a channel, when it is so many messages together."""

    async def all_came() -> bool:
        counts: list[int] = [await process.call("count", channel) for process in processes]
        return sum(counts) >= count

    await eventually(all_came, timeout=DEADLINE)
    return [await process.call("received", channel) for process in processes]


@dataclass(frozen=True)
class Fleet:
    """Two processes of one site, in the middle of an upgrade.

    Attributes:
        kind: "queue" or "pubsub".
        hosts: How many servers they share.
        ours: The process with our layer.
        theirs: The process with that of `channels_redis` 4.
    """

    kind: str
    hosts: int
    ours: Process
    theirs: Process


@asynccontextmanager
async def fleet_of(kind: str, settings: dict[str, Any], **ours_alone: Any) -> AsyncIterator[Fleet]:
    """Start the two processes, with equal options, and some that only ours gets."""
    python = channels_redis_4()
    async with AsyncExitStack() as stack:
        ours, theirs = await asyncio.gather(
            WorkerProcess.fork(SCRIPT, backend=OURS[kind], **settings, **ours_alone),
            WorkerProcess.start(SCRIPT, python=python, backend=THEIRS[kind], **settings),
        )
        for worker in (ours, theirs):
            stack.push_async_callback(worker.close)
        yield Fleet(kind, len(settings["hosts"]), Process(ours), Process(theirs))
