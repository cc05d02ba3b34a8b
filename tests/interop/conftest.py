"""Two processes on the same servers: one with our layer, one with that of `channels_redis` 4."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from environments import channels_redis_4
from servers.processes import WorkerProcess
from servers.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from embedded_server import EmbeddedServer

SCRIPT = Path(__file__).parent / "layer_process.py"
OURS = {
    "queue": "channels_redis_queue.RedisChannelLayer",
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
}
THEIRS = {
    "queue": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "encrypted": {"symmetric_encryption_keys": ["the new key", "the old key"]},
    "json": {"serializer_format": "json"},
    "two-hosts": {"shards": 2},
}
DEADLINE = 30.0  # seconds for what should take a few; machines that run tests are busy


class Process:
    """A layer in a process of its own; its methods are called as if it were here."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker

    async def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the layer, or of `layer_process.Inbox`, returns there."""
        reply = await self._worker.call(method=method, arguments=arguments)
        assert "error" not in reply, reply
        return reply["result"]

    async def channel(self) -> str:
        """Return a new channel, on which the process receives."""
        name: str = await self.call("new_channel")
        await self.call("listen", name)
        return name

    async def got(self, expected: Mapping[str, list[Any]]) -> None:
        """Return when each channel has received this much, and check that it is just this."""

        async def all_came() -> dict[str, list[Any]] | None:
            received: dict[str, list[Any]] = await self.call("received")
            complete = all(len(received[name]) >= len(expected[name]) for name in expected)
            return received if complete else None

        received = await eventually(all_came, timeout=DEADLINE)
        assert {name: received[name] for name in expected} == expected


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


@pytest.fixture(scope="module", params=SETTINGS)
def settings(
    request: pytest.FixtureRequest, redis_shards: tuple[EmbeddedServer, ...]
) -> dict[str, Any]:
    """Give options that both layers take."""
    options = dict(SETTINGS[request.param])
    shards = options.pop("shards", 1)
    prefix = f"test-{secrets.token_hex(6)}-"
    return {"hosts": [server.url for server in redis_shards[:shards]], "prefix": prefix, **options}


@pytest.fixture(scope="module", params=OURS)
def kind(request: pytest.FixtureRequest) -> str:
    """Give each of the two layers in turn."""
    chosen: str = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(kind: str, settings: dict[str, Any]) -> AsyncIterator[Fleet]:
    """Give the two processes, with equal options; tests share them, and use names of their own."""
    python = channels_redis_4()
    async with AsyncExitStack() as stack:
        ours, theirs = await asyncio.gather(
            WorkerProcess.start(SCRIPT, backend=OURS[kind], **settings),
            WorkerProcess.start(SCRIPT, python=python, backend=THEIRS[kind], **settings),
        )
        for worker in (ours, theirs):
            stack.push_async_callback(worker.close)
        yield Fleet(kind, len(settings["hosts"]), Process(ours), Process(theirs))
