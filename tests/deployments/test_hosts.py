"""The forms of a host that reach a server, and what its arguments do there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from embedded_server import HOST, EmbeddedServer
from support.layers import works
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.layers import LayerClass, Layers


async def test_database(
    own_server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """The queue layer's keys are in the database that the URL or the dict names, and nowhere else.

    Pub/Sub works with any, as Redis has one set of channels for all.
    """
    address = f"redis://{HOST}:{own_server.port}"
    await works(layers, layer_class, f"{address}/5")
    await works(layers, layer_class, {"address": address, "db": 5})
    with own_server.client() as client:
        databases = set(client.info("keyspace"))
    assert databases == ({"db5"} if layer_class is RedisChannelLayer else set())


def has_ipv6() -> bool:
    """Return whether the machine has an address ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="the machine has no IPv6")
@pytest.mark.parametrize(
    "host",
    [
        lambda port: f"redis://[::1]:{port}/0",
        lambda port: ("::1", port),
        lambda port: {"host": "::1", "port": port},
    ],
    ids=["url", "pair", "dict"],
)
async def test_ipv6(
    host: Callable[[int], Any],
    start_server: Callable[..., EmbeddedServer],
    layer_class: LayerClass,
    layers: Layers,
) -> None:
    """An IPv6 address, in each form."""
    server = start_server("bind ::1")
    await works(layers, layer_class, host(server.port))
    await layers.close()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_superfluous_password(
    protocol: int, redis_server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """A server without a password takes any, also from synchronous callers."""
    url = f"redis://:superfluous@{HOST}:{redis_server.port}?protocol={protocol}"
    host = {"address": redis_server.url, "password": "superfluous", "protocol": protocol}
    for entry in (url, host):
        await works(layers, layer_class, entry)


async def test_client_name(
    own_server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """Every connection of the layer has the name in CLIENT LIST."""
    host = {"address": own_server.url, "client_name": "shop"}
    layer = layers(layer_class, host)
    channel = await within(layer.new_channel())
    await within(layer.group_add("group", channel))
    await within(layer.group_send("group", {"type": "message"}))
    await within(layer.receive(channel))
    with own_server.client() as client:
        own_id = client.client_id()
        listed = client.client_list()
    names = [entry["name"] for entry in listed if entry["id"] != str(own_id)]
    # One for commands, and one on which messages come.
    assert len(names) >= 2
    assert set(names) == {"shop"}


async def test_hosts_of_several_forms(
    redis_shards: tuple[EmbeddedServer, ...], layer_class: LayerClass, layers: Layers
) -> None:
    """Shards may each be written in their own way."""
    first, second, third = redis_shards
    third_host = {"host": HOST, "port": third.port, "protocol": 3}
    for _ in range(5):
        await works(layers, layer_class, first.url, {"path": second.unix_socket}, third_host)


async def test_layers_of_both_kinds_on_one_server(
    redis_server: EmbeddedServer, prefix: str, layers: Layers
) -> None:
    """They share a server and a prefix, and do not disturb each other."""
    queue = layers(RedisChannelLayer, redis_server.url, prefix=prefix)
    pubsub = layers(RedisPubSubChannelLayer, redis_server.url, prefix=prefix)
    for layer in (queue, pubsub):
        channel = await within(layer.new_channel())
        await within(layer.group_add("group", channel))
        await within(queue.group_send("group", {"type": "of the queue"}))
        await within(pubsub.group_send("group", {"type": "of pubsub"}))
        expected = "of the queue" if layer is queue else "of pubsub"
        assert await within(layer.receive(channel)) == {"type": expected}
