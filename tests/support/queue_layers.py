"""Helpers for tests of the queue layer: layers, here and in other processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.keys import Keys, QueueKeys, non_local
from support import inside
from support.fleet import OURS, SCRIPT, Process
from support.layers import LayersOf, fixtures_of, succeeds
from support.messages import Message, nothing_else, take_elsewhere
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import redis

    from channels_redis_queue._shared.transport.commands import Script
    from conftest import RunProcess
    from embedded_server import EmbeddedServer

__all__ = ["frequent_checks", "layers", "nothing_else", "own_layers", "remote_layer"]


class Layers(LayersOf[RedisChannelLayer]):
    """Layers with some options in common, closed after the test."""

    layer_class = RedisChannelLayer


layers, own_layers = fixtures_of(Layers)
# Starts a layer with some options in its own process.
StartRemoteLayer: TypeAlias = "Callable[..., Awaitable[Process]]"


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers look for losses, ended consumers and leaves, and for heartbeats that are due."""
    monkeypatch.setattr("channels_redis_queue.maintenance.CHECK_INTERVAL", 0.4)
    monkeypatch.setattr("channels_redis_queue.protocol.inbox.BLOCK_SECONDS", 1)
    monkeypatch.setattr("channels_redis_queue.liveness.RETRY_INTERVAL", 0.2)


@pytest.fixture
def remote_layer(run_process: RunProcess) -> StartRemoteLayer:
    """Return a coroutine function that starts a layer in its own process."""

    async def start(**options: Any) -> Process:
        return Process(await run_process(SCRIPT, backend=OURS["queue"], **options))

    return start


async def waiting(layer: RedisChannelLayer, channel: str) -> asyncio.Task[Message]:
    """Start to receive, and return when the server has the layer's wait for it."""
    task = asyncio.create_task(layer.receive(channel))
    await take_elsewhere(layer)
    return task


async def sent(layer: RedisChannelLayer, channel: str) -> bool:
    """Try to send a message; return whether that worked."""
    return await succeeds(lambda: layer.send(channel, {"type": "hello"}))


def is_blocked(server: EmbeddedServer, readers: int = 1) -> bool:
    """Return whether this many readers are in their blocking waits."""
    with server.client() as client:
        return int(client.info("clients")["blocked_clients"]) == readers


async def blocked(
    server: EmbeddedServer, layer: RedisChannelLayer, channel: str
) -> asyncio.Task[Message]:
    """Start to receive on a server of the test's own; return when all readers wait there."""
    task = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    await eventually(lambda: is_blocked(server, len(inside.receivers(layer))))
    return task


def beside(layer: RedisChannelLayer, channel: str) -> QueueKeys:
    """Return the names of a channel's message key and of the keys beside it."""
    return Keys(layer.prefix).messages(non_local(channel))


async def names_in(layer: RedisChannelLayer, group: str) -> list[str]:
    """Return the names in a group in Redis: of processes, or of members."""
    key = Keys(layer.prefix).group(group)
    command = ("ZRANGE", key, 0, -1)
    found = await inside.shards(layer).of(group).execute(command, key=key)
    return [name.decode() for name in found]


class ScriptServer:
    """A server that runs scripts, and its clock."""

    def __init__(self, client: redis.Redis) -> None:
        # What redis-py says of its replies' types differs from version to version.
        self.client: Any = client

    def run(self, script: Script, keys: list[str], *arguments: Any) -> Any:
        """Run a script."""
        return self.client.execute_command(*script.call_with_source(keys, *arguments))

    def now(self) -> float:
        """Return the server's time."""
        seconds, microseconds = self.client.time()
        return float(seconds + microseconds / 1_000_000)
