"""Runs each test of the contract on the variants that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from conformance.capabilities import Capability
from conformance.layer_case import ChannelLayer, LayerCase
from conformance.variants import (
    PUBSUB,
    PUBSUB_LACKS,
    QUEUE,
    QUEUE_LACKS,
    TRAFFIC,
    VARIANTS,
    Variant,
)
from support.acl_rules import restricted
from support.tls import authority, start_tls_server, tls_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from conformance.variants import Config
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.layers import LayerClass

__all__ = ["authority", "start_tls_server", "tls_server"]

ACL_LACKS = {Capability.OTHER_PREFIXES: "the documentation's rules give rights to one prefix"}


def with_rule(
    layer_class: LayerClass, *rights: str
) -> Callable[[Sequence[EmbeddedServer]], Config]:
    """Return what makes a user with the documentation's rule, which is for the default prefix."""

    def config(servers: Sequence[EmbeddedServer]) -> Config:
        with servers[0].client() as client:
            client.flushall()
        return {"hosts": [restricted(servers[0], layer_class, *rights)], "prefix": "asgi"}

    return config


def tls(servers: Sequence[Any]) -> Config:
    """A Redis 8 with TLS that requires a client's certificate."""
    return {"hosts": [servers[0].host]}


# With ACL rules, what sends any command; with TLS, what sends much.
ACL, TLS = TRAFFIC | {"capacity", "flush"}, TRAFFIC | {"overflow"}
DEPLOYED = (
    Variant(
        "queue-acl",
        QUEUE,
        with_rule(RedisChannelLayer),
        lacks={**QUEUE_LACKS, **ACL_LACKS},
        modules=ACL,
    ),
    Variant(
        "pubsub-acl",
        PUBSUB,
        # Pub/Sub takes a right for each general channel.
        with_rule(RedisPubSubChannelLayer, "&jobs", "&news"),
        lacks={**PUBSUB_LACKS, **ACL_LACKS},
        modules=ACL,
    ),
    Variant("queue-tls", QUEUE, tls, lacks=QUEUE_LACKS, modules=TLS, server="tls_server"),
    Variant("pubsub-tls", PUBSUB, tls, lacks=PUBSUB_LACKS, modules=TLS, server="tls_server"),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each variant that is for it and has the capabilities."""
    if "variant" not in metafunc.fixturenames:
        return
    needed = [need for mark in metafunc.definition.iter_markers("needs") for need in mark.args]
    module = metafunc.module.__name__.rpartition("test_")[2]
    cases = [variant for variant in (*VARIANTS, *DEPLOYED) if variant.runs(module, needed)]
    metafunc.parametrize("variant", cases, ids=[variant.name for variant in cases])


@pytest_asyncio.fixture
async def case(
    variant: Variant,
    redis_server: EmbeddedServer,
    redis_shards: tuple[EmbeddedServer, ...],
    prefix: str,
    request: pytest.FixtureRequest,
) -> AsyncIterator[LayerCase]:
    """A maker of layers that share their servers and their own prefix."""
    servers: Sequence[EmbeddedServer] = redis_shards[: variant.shards]
    if variant.server:
        servers = (request.getfixturevalue(variant.server),)
    elif variant.cluster:
        # Only now, as not every server can be a node of one.
        cluster: EmbeddedCluster = request.getfixturevalue("redis_cluster")
        servers = cluster.nodes
    elif variant.shards == 1:
        servers = (redis_server,)
    config = variant.config(servers)
    made = LayerCase(variant, {"prefix": prefix, **config} if config else {})
    yield made
    await made.close()


@pytest.fixture
def layer(case: LayerCase) -> ChannelLayer:
    """One layer with the variant's own options."""
    return case.layer()
