"""The forms of a host that reach a server, and what its arguments do there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from embedded_server import HOST, EmbeddedServer
from support.layers import works
from support.messages import joined, take, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.cluster import EmbeddedCluster
    from support.layers import LayerClass, Layers


async def test_shards_of_several_forms(
    redis_shards: tuple[EmbeddedServer, ...],
    redis_cluster: EmbeddedCluster,
    layer_class: LayerClass,
    layers: Layers,
) -> None:
    """Each may be written in its own way, with a superfluous password; a Cluster is one of them.

    Of the Cluster one node that lives has to be known.
    """
    url, path, arguments = redis_shards
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        hosts: list[Any] = [
            f"redis://:superfluous@{HOST}:{url.port}",
            {"path": path.unix_socket},
            {"host": HOST, "port": arguments.port, "protocol": 3, "password": "superfluous"},
            {"cluster": [unused.getsockname(), redis_cluster.addresses[0]]},
        ]
        # The group of the check is on each of them in turn.
        for number in range(len(hosts)):
            await works(layers, layer_class, *hosts[number:], *hosts[:number])


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
async def test_ipv6(
    start_server: Callable[..., EmbeddedServer], layer_class: LayerClass, layers: Layers
) -> None:
    """An IPv6 address, in a URL and in a pair."""
    server = start_server("bind ::1")
    for host in (f"redis://[::1]:{server.port}/0", ("::1", server.port)):
        await works(layers, layer_class, host)
    await layers.close()


async def test_client_name(
    own_server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """Every connection of the layer has the name in CLIENT LIST."""
    host = {"address": own_server.url, "client_name": "shop"}
    await works(layers, layer_class, host)
    with own_server.client() as client:
        own_id = str(client.client_id())
        names = [entry["name"] for entry in client.client_list() if entry["id"] != own_id]
    # One for commands, and one on which messages come, of one layer at least.
    assert len(names) >= 2
    assert set(names) == {"shop"}


async def test_layers_of_both_kinds_on_one_server(
    redis_server: EmbeddedServer, prefix: str, layers: Layers
) -> None:
    """They share a server and a prefix, and do not disturb each other."""
    queue = layers(RedisChannelLayer, redis_server.url, prefix=prefix)
    pubsub = layers(RedisPubSubChannelLayer, redis_server.url, prefix=prefix)
    channels = {layer: await joined(layer, "group") for layer in (queue, pubsub)}
    for layer in (queue, pubsub):
        await within(layer.group_send("group", {"type": "x", "by": layer.__class__.__name__}))
    for layer, channel in channels.items():
        assert (await take(layer, channel))["by"] == layer.__class__.__name__
