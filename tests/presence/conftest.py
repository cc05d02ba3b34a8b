"""Layers that are as many processes, each with its `Presence`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pytest
import pytest_asyncio
from channels.layers import channel_layers
from django.conf import settings
from redis.exceptions import RedisError

from channels_redis_queue._shared.presence import shard
from channels_redis_queue.presence import Presence
from support.layers import layer_class, layers
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_server import EmbeddedServer
    from support.layers import LayerClass, Layers
    from support.proxy import TcpProxy

__all__ = ["layer_class", "layers"]

GRACE = 0.5


class Process:
    """A layer, which is a process to Redis, and its presence."""

    def __init__(self, layer: Any, hosts: list[Any], grace: float) -> None:
        alias = f"process{id(layer)}"
        channel_layers.set(alias, layer)
        self.layer = layer
        self.hosts = hosts
        self.presence = Presence(alias, grace=grace)

    async def open(self, group: str, key: str, meta: Any = None) -> str:
        """Open a tab of a person."""
        channel: str = await within(self.layer.new_channel())
        await within(self.presence.track(group, channel, key, meta))
        return channel

    async def lists(self, group: str, **people: list[Any]) -> bool:
        """Return whether the group has just these people, with their metas."""
        found = await within(self.presence.list(group))
        return found == people and await self.presence.count(group) == len(people)

    async def watch(self, group: str) -> Watcher:
        """Return a member of the group that gets the diffs."""
        channel = await within(self.layer.new_channel())
        await within(self.layer.group_add(f"{group}.presence", channel))
        return Watcher(self.layer, channel)


Processes: TypeAlias = Callable[..., Process]


class Watcher:
    """A page that shows who is in a group."""

    def __init__(self, layer: Any, channel: str) -> None:
        self.layer = layer
        self.channel = channel
        self.people: dict[str, list[Any]] = {}
        self.seen: dict[str, int] = {}
        # Each join and leave that came, in order.
        self.events: list[tuple[str, str]] = []
        self.messages: list[dict[str, Any]] = []

    async def look(self) -> dict[str, Any]:
        """Wait for a diff, and show it."""
        message: dict[str, Any] = await within(self.layer.receive(self.channel))
        self.show(message)
        return message

    async def until(self, *keys: str) -> None:
        """Look until exactly these people are there."""
        while set(self.people) != set(keys):
            await self.look()

    def show(self, message: dict[str, Any]) -> None:
        """Show a diff, as docs/presence.md tells browsers."""
        assert message["type"] == "presence.diff"
        self.messages.append(message)
        for name in ("joins", "leaves"):
            for key, metas in message[name].items():
                self.events.append((name, key))
                if message["at"][key] > self.seen.get(key, 0):
                    self.seen[key] = message["at"][key]
                    if name == "joins":
                        self.people[key] = metas
                    else:
                        self.people.pop(key, None)


class Line(NamedTuple):
    """Two processes, the first of which is behind a proxy; a page in a room at the second."""

    here: Process
    there: Process
    watcher: Watcher
    proxy: TcpProxy

    async def leave(self, channel: str, key: str, *, cut: bool = False) -> None:
        """Let a person leave, and lose the reply; the connection breaks, or seems to be open."""
        loss = self.proxy.lose_reply(to=key.encode(), cut=cut)
        await self.here.presence.untrack("room", channel)
        await within(loss.happened.wait())

    async def fall_silent(self) -> None:
        """Let nothing pass any more; return after longer than a command is tried for."""
        self.proxy.stall(new=True)
        with pytest.raises((RedisError, OSError)):
            await within(self.here.presence.count("room"))


@pytest.fixture(params=["redis_server", "redis_shards", "redis_cluster"])
def kind(request: pytest.FixtureRequest) -> Any:
    """Return one server, several, or a Cluster."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def servers(kind: Any) -> list[EmbeddedServer]:
    """Return each of the servers, or of the Cluster's nodes."""
    return [kind] if hasattr(kind, "url") else list(getattr(kind, "nodes", kind))


@pytest.fixture
def hosts(kind: Any, servers: list[EmbeddedServer]) -> list[Any]:
    """Return each kind of servers in turn, as a layer's hosts."""
    return [kind.host] if hasattr(kind, "nodes") else [server.url for server in servers]


@pytest.fixture
def processes(
    layer_class: LayerClass, layers: Layers, redis_server: EmbeddedServer
) -> Iterator[Processes]:
    """Yield a maker of processes, by default on the server that all tests share."""
    if not settings.configured:
        settings.configure()
    before = dict(channel_layers.backends)

    def make(*hosts: Any, grace: float = GRACE, **options: Any) -> Process:
        of_process = list(hosts) or [redis_server.url]
        return Process(layers(layer_class, *of_process, **options), of_process, grace)

    yield make
    channel_layers.backends = before


@pytest_asyncio.fixture
async def line(processes: Processes, own_server: EmbeddedServer, proxy: TcpProxy) -> Line:
    """Return two processes on the test's own server, with a proxy before the first."""
    limits = {"socket_timeout": 2, "socket_connect_timeout": 1}
    here = processes({"address": proxy.url, **limits}, grace=0)
    there = processes(own_server.url)
    return Line(here, there, await there.watch("room"), proxy)


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send heartbeats more often, so that a killed process is found in seconds."""
    monkeypatch.setattr(shard, "BEAT_INTERVAL", 0.3)
    monkeypatch.setattr(shard, "SILENT_AFTER", 1)
    monkeypatch.setattr(shard, "SECOND_LOOK_AFTER", 0.8)
    monkeypatch.setattr("channels_redis_queue.maintenance.CHECK_INTERVAL", 0.4)
    monkeypatch.setattr("channels_redis_pubsub.broker.SWEEP_INTERVAL", 0.4)
