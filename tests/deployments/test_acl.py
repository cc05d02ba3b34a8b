"""ACLs: the rules of the documentation are enough, are the smallest, and name what they forbid."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from channels.layers import channel_layers
from django.conf import settings
from redis.exceptions import NoPermissionError, ResponseError

import channels_redis_pubsub
import channels_redis_queue
from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from channels_redis_queue._shared.presence.keys import PresenceKeys
from channels_redis_queue.presence import Presence
from embedded_server import EmbeddedServer
from support.acl_rules import PASSWORD, presence_rule_of, restricted, rule_of
from support.environments import redis_6_2, redis_8
from support.layers import LAYERS, works
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster import EmbeddedCluster
    from support.layers import LayerClass, Layers

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


@pytest.mark.parametrize("protocol", [2, 3])
async def test_rule_is_enough(
    protocol: int, server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """With this rule alone all methods work; redis-py's CLIENT SETINFO is all that is refused."""
    host = {**restricted(server, layer_class), "protocol": protocol}
    with server.client() as client:
        client.acl_log_reset()
        await works(layers, layer_class, host)
        await within(layers(layer_class, host).flush())
        refused = {entry["object"] for entry in client.acl_log()}
    assert refused <= {"client|setinfo", "client"}


def commands_of(layer_class: LayerClass, known: set[str]) -> set[str]:
    """Return the commands in the source of a layer, of those that a server knows."""
    package = channels_redis_queue if layer_class is RedisChannelLayer else channels_redis_pubsub
    folder = Path(str(files(package)))
    # The doctor asks for all of them, and for some that only it needs.
    sources = (
        file
        for file in (*folder.glob("*.py"), *folder.glob("protocol/*.py"))
        if file.stem != "doctor"
    )
    python = "".join(file.read_text() for file in sources)
    lua = "".join(file.read_text() for file in folder.glob("lua/*.lua"))
    words = set(WORD.findall(python)) | set(re.findall(r"redis\.p?call\('(\w+)'", lua))
    return {word.lower() for word in words} & known


def test_rule_is_the_smallest(layer_class: LayerClass, redis_server: EmbeddedServer) -> None:
    """Each command of the rule is one that the layer sends, and the other way around."""
    with redis_server.client() as client:
        known = {name.lower() for name in client.command()}
    sends = commands_of(layer_class, known) - SHARDED
    if layer_class is RedisChannelLayer:
        sends |= {"eval", "evalsha", "script|load"}  # by way of the module for scripts
    assert {word[1:] for word in rule_of(layer_class) if word.startswith("+")} == sends


def test_presence_rule_is_the_smallest(
    layer_class: LayerClass, redis_server: EmbeddedServer
) -> None:
    """The rule of presence has each command that it sends and that its layer does not."""
    with redis_server.client() as client:
        known = {name.lower() for name in client.command()}
    folder = Path(str(files(channels_redis_queue))) / "_shared/presence"
    words = set(WORD.findall("".join(file.read_text() for file in folder.glob("*.py"))))
    lua = "".join(file.read_text() for file in folder.glob("lua/*.lua"))
    words |= set(re.findall(r"redis\.p?call\('(\w+)'", lua))
    sends = {word.lower() for word in words} & known | {"eval"}
    more = {word[1:] for word in presence_rule_of(layer_class) if word.startswith("+")}
    assert more == sends - {word[1:] for word in rule_of(layer_class)}


async def test_presence_rule_is_enough(
    server: EmbeddedServer, layer_class: LayerClass, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its rule presence can come, be listed, and go, and dead processes are removed."""
    monkeypatch.setattr("channels_redis_queue._shared.presence.shard.SECOND_LOOK_AFTER", 0)
    monkeypatch.setattr("channels_redis_queue._shared.presence.shard.BEAT_INTERVAL", 0.2)
    layer = layers(layer_class, restricted(server, layer_class, *presence_rule_of(layer_class)))
    if not settings.configured:
        settings.configure()
    channel_layers.set("restricted", layer)
    presence = Presence("restricted", grace=0)
    with server.client() as client:
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


@pytest.mark.parametrize(
    "command", ["bzpopmin", "evalsha", "script|load", "time", "zadd", "rename", "expire"]
)
async def test_forbidden_command_of_the_queue(
    command: str, server: EmbeddedServer, layers: Layers
) -> None:
    """A missing permission is an error that says so, for each waiting caller."""
    host = restricted(server, RedisChannelLayer, without=f"+{command}")
    layer = layers(RedisChannelLayer, host)
    # Redis 6 names a command without its subcommand, and one in a script not at all.
    expected = rf"'({re.escape(command)}|{command.partition('|')[0]})' command"
    expected += r"|executing the script can't run this command .*: the command doctor lists"
    with pytest.raises((NoPermissionError, ResponseError), match=expected):
        await within(use(layer))


async def use(layer: RedisChannelLayer) -> None:
    """Receive a message of a group, then wait without getting another."""
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "message"})
    await layer.receive(channel)
    await layer.receive(channel)


@pytest.mark.parametrize("command", ["subscribe", "publish"])
async def test_forbidden_command_of_pubsub(
    command: str, server: EmbeddedServer, layers: Layers
) -> None:
    """The same, for what the Pub/Sub layer asks for."""
    host = restricted(server, RedisPubSubChannelLayer, without=f"+{command}")
    layer = layers(RedisPubSubChannelLayer, host)
    with pytest.raises(NoPermissionError, match=f"'{command}' command"):
        await within(layer.send(await layer.new_channel(), {"type": "message"}))


@pytest.mark.parametrize(("layer_class", "what"), [*zip(LAYERS, ["key", "channel"], strict=True)])
async def test_prefix_that_the_rule_does_not_cover(
    layer_class: LayerClass, what: str, server: EmbeddedServer, layers: Layers
) -> None:
    """Names that a user may not touch are an error that says of which kind they are."""
    layer = layers(layer_class, restricted(server, layer_class), prefix="other")
    with pytest.raises(NoPermissionError, match=what):
        await within(layer.group_add("group", await layer.new_channel()))


async def test_general_channel_of_pubsub(server: EmbeddedServer, layers: Layers) -> None:
    """A general channel takes a right of its own, as the page says."""
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


async def test_password_alone_and_in_the_url(layer_class: LayerClass, layers: Layers) -> None:
    """A server with `requirepass` takes a password without a user, however it is written."""
    with EmbeddedServer("requirepass p@ss/word") as server:
        for host in (
            {"address": server.url, "password": "p@ss/word"},
            server.url.replace("://", "://:p%40ss%2Fword@"),
        ):
            await works(layers, layer_class, host)
        await layers.close()
