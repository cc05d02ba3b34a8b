"""ACLs: the rules of the documentation are enough, are the smallest, and name what they forbid."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import NoPermissionError, ResponseError

import channels_redis_pubsub
import channels_redis_queue
from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from channels_redis_queue._shared.presence.keys import PresenceKeys
from channels_redis_queue.presence import Presence
from embedded_server import EmbeddedServer
from support.acl_rules import PASSWORD, addition_of, restricted, rule_of
from support.default_layer import default_layer
from support.environments import redis_6_2, redis_8
from support.layers import works
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.cluster import EmbeddedCluster
    from support.layers import Layer, LayerClass, Layers

SERVERS = {"valkey": lambda: None, "redis-8": redis_8, "redis-6.2": redis_6_2}
# What may be a command in the layers' own code.
WORD = re.compile(r'"([A-Z]{3,})"')
# The page names them apart, as they take the places of others.
SHARDED = {"spublish", "ssubscribe", "sunsubscribe"}


@pytest.fixture
def prefix() -> str:
    """Return the prefix in the documented rules."""
    return "asgi"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """Yield each kind of server in turn."""
    with EmbeddedServer(binary=SERVERS[request.param]()) as server:
        yield server


async def test_rule_is_enough(
    server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """With this rule alone all methods work; redis-py's CLIENT SETINFO is all that is refused."""
    host = restricted(server, layer_class)
    with server.client() as client:
        client.acl_log_reset()
        await works(layers, layer_class, host)
        await within(layers(layer_class, host).flush())
        refused = {entry["object"] for entry in client.acl_log()}
    assert refused <= {"client|setinfo", "client"}


def commands_of(known: set[str], *sources: Path) -> set[str]:
    """Return the commands in source code, of those that a server knows."""
    code = "".join(source.read_text() for source in sources)
    words = set(WORD.findall(code)) | set(re.findall(r"redis\.p?call\('(\w+)'", code))
    return {word.lower() for word in words} & known


def commands_in(rule: Sequence[str]) -> set[str]:
    """Return the commands that a rule allows."""
    return {word[1:] for word in rule if word.startswith("+")}


def test_rules_are_the_smallest(layer_class: LayerClass, redis_server: EmbeddedServer) -> None:
    """Each command of the rules is one that the layer or presence sends, and the other way."""
    with redis_server.client() as client:
        known = {name.lower() for name in client.command()}
    package = channels_redis_queue if layer_class is RedisChannelLayer else channels_redis_pubsub
    folder = Path(str(files(package)))
    # The doctor asks for all of them, and for some that only it needs.
    python = {*folder.glob("*.py"), *folder.glob("protocol/*.py")} - {folder / "doctor.py"}
    sends = commands_of(known, *python, *folder.glob("lua/*.lua")) - SHARDED
    if layer_class is RedisChannelLayer:
        sends |= {"eval", "evalsha", "script|load"}  # by way of the module for scripts
    rule = commands_in(rule_of(layer_class))
    assert rule == sends
    presence = folder / "_shared/presence"
    sends = commands_of(known, *presence.glob("*.py"), *presence.glob("lua/*.lua")) | {"eval"}
    assert commands_in(addition_of(layer_class, "presence")) == sends - rule


async def test_presence_rule_is_enough(
    server: EmbeddedServer, layer_class: LayerClass, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its rule presence can come, be listed, and go, and dead processes are removed."""
    monkeypatch.setattr("channels_redis_queue._shared.presence.shard.SECOND_LOOK_AFTER", 0)
    monkeypatch.setattr("channels_redis_queue._shared.presence.shard.BEAT_INTERVAL", 0.2)
    host = restricted(server, layer_class, *addition_of(layer_class, "presence"))
    layer = layers(layer_class, host)
    with default_layer(layer), server.client() as client:
        presence = Presence(grace=0)
        client.acl_log_reset()
        channel = await within(layer.new_channel())
        await within(presence.track("room", channel, "ann"))
        assert await within(presence.list("room")) == {"ann": [None]}
        await within(presence.untrack("room", channel))

        async def is_empty() -> bool:
            return await presence.count("room") == 0

        await eventually(is_empty)
        # A process that has died long ago is removed.
        heartbeats = PresenceKeys(layer.presence_key_head).heartbeats
        client.zadd(heartbeats, {"dead": 0})
        await eventually(lambda: client.zcard(heartbeats) == 1)
        refused = {entry["object"] for entry in client.acl_log()}
    assert refused <= {"client|setinfo", "client"}


FORBIDDEN = [
    *((RedisChannelLayer, command) for command in ("bzpopmin", "script|load", "zadd")),
    *((RedisPubSubChannelLayer, command) for command in ("subscribe", "publish")),
]


@pytest.mark.parametrize(("layer_class", "command"), FORBIDDEN)
async def test_forbidden_command(
    layer_class: LayerClass, command: str, server: EmbeddedServer, layers: Layers
) -> None:
    """A missing permission is an error that says so, for each waiting caller."""
    layer = layers(layer_class, restricted(server, layer_class, without=f"+{command}"))
    # Redis 6 names a command without its subcommand, and one in a script not at all.
    expected = rf"'({re.escape(command)}|{command.partition('|')[0]})' command"
    expected += r"|executing the script can't run this command .*: the command doctor lists"
    with pytest.raises((NoPermissionError, ResponseError), match=expected):
        await within(use(layer))


async def use(layer: Layer) -> None:
    """Receive a message of a group, then wait without getting another."""
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "message"})
    await layer.receive(channel)
    await layer.receive(channel)


async def test_general_channel_of_pubsub(server: EmbeddedServer, layers: Layers) -> None:
    """A general channel takes another right, as the page says."""
    host = restricted(server, RedisPubSubChannelLayer)
    with pytest.raises(NoPermissionError):
        await within(layers(RedisPubSubChannelLayer, host).receive("thumbnails"))
    restricted(server, RedisPubSubChannelLayer, "&thumbnails")
    layer = layers(RedisPubSubChannelLayer, host)
    await within(layer.send("thumbnails", {"type": "work"}))


async def test_database_and_client_name(
    redis_server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """They take the rights that the page names."""
    more = ("+select", "+client|setname")
    host = {**restricted(redis_server, layer_class, *more), "db": 3, "client_name": "shop"}
    await works(layers, layer_class, host)


@pytest.mark.parametrize(
    ("layer_class", "options"),
    [
        (RedisChannelLayer, {}),
        (RedisPubSubChannelLayer, {}),
        (RedisPubSubChannelLayer, {"sharded_pubsub": True}),
    ],
    ids=["queue", "pubsub", "sharded-pubsub"],
)
async def test_cluster(
    layer_class: LayerClass,
    options: dict[str, Any],
    redis_cluster: EmbeddedCluster,
    layers: Layers,
) -> None:
    """A Redis Cluster and sharded Pub/Sub take the rights that the page names."""
    more = ["+cluster|slots"]
    if options:
        more += [f"+{command}" for command in SHARDED]
        more += [f"-{command[1:]}" for command in SHARDED]
    users = [restricted(node, layer_class, *more)["username"] for node in redis_cluster.nodes]
    host = {**redis_cluster.host, "username": users[0], "password": PASSWORD}
    await works(layers, layer_class, host, **options)
    await within(layers(layer_class, host, **options).flush())
