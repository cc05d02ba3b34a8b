"""The tests of the contract, with the smallest ACL rules, and those of traffic over TLS as well.

The environment `matrix` of hatch.toml runs them on servers of other versions.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from conformance.layer_case import ChannelLayer, LayerCase
from conformance.test_processes import other
from conformance.variants import (
    PUBSUB,
    PUBSUB_LACKS,
    QUEUE,
    QUEUE_LACKS,
    TRAFFIC,
    Variant,
)
from embedded_server import EmbeddedServer
from support.acl_rules import restricted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.tls import TlsServer

__all__ = ["other"]

MODULES = TRAFFIC | {"capacity", "flush", "overflow"}
VARIANTS = [
    Variant(f"{fixture}-{name}", backend, lambda _: {}, lacks=lacks, modules=modules)
    for fixture, modules in (
        # What sends any command, and what sends much.
        ("with_acl", TRAFFIC | {"capacity", "flush"}),
        ("with_tls", TRAFFIC | {"overflow"}),
    )
    for name, backend, lacks in (
        ("queue", QUEUE, QUEUE_LACKS),
        ("pubsub", PUBSUB, PUBSUB_LACKS),
    )
]
NOT_HERE = {
    # They use another prefix, to which the rule gives no right.
    "test_flush_leaves_other_prefixes_alone",
    "test_prefixes_keep_channels_apart",
    "test_prefixes_keep_groups_apart",
    # Only Channels' own layer can pass it.
    "test_joining_member_gets_nothing_older",
}
for module in sorted(MODULES):
    # pytest finds them here as well, and gives them the fixtures below.
    found = vars(import_module(f"conformance.test_{module}"))
    globals().update(
        {
            name: test
            for name, test in found.items()
            if name.startswith("test_") and name not in NOT_HERE
        }
    )

# The general channels of these tests. As the page says, Pub/Sub takes a right for each.
GENERAL_CHANNELS = ("&jobs", "&news")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with the kinds of servers that it is for."""
    needed = [need for mark in metafunc.definition.iter_markers("needs") for need in mark.args]
    module = metafunc.function.__module__.removeprefix("conformance.test_")
    cases = [variant for variant in VARIANTS if variant.runs(module, needed)]
    metafunc.parametrize("variant", cases, ids=[variant.name for variant in cases])


@pytest_asyncio.fixture
async def case(variant: Variant, request: pytest.FixtureRequest) -> AsyncIterator[LayerCase]:
    """Yield a maker of layers."""
    config: dict[str, Any] = request.getfixturevalue(variant.name.partition("-")[0])
    made = LayerCase(variant, config)
    yield made
    await made.close()


@pytest.fixture
def layer(case: LayerCase) -> ChannelLayer:
    """Return one layer."""
    return case.layer()


@pytest.fixture(scope="module")
def acl_server() -> Iterator[EmbeddedServer]:
    """Yield a server whose only users beside the default one have the documentation's rules."""
    with EmbeddedServer() as server:
        restricted(server, RedisChannelLayer)
        restricted(server, RedisPubSubChannelLayer, *GENERAL_CHANNELS)
        yield server


@pytest.fixture
def with_acl(acl_server: EmbeddedServer, variant: Variant) -> dict[str, Any]:
    """Return a user with the rule of the layer, and the prefix of the rule: the default."""
    with acl_server.client() as client:
        client.flushall()
    if variant.backend == QUEUE:
        return {"hosts": [restricted(acl_server, RedisChannelLayer)], "prefix": "asgi"}
    host = restricted(acl_server, RedisPubSubChannelLayer, *GENERAL_CHANNELS)
    return {"hosts": [host], "prefix": "asgi"}


@pytest.fixture
def with_tls(tls_server: TlsServer, prefix: str) -> dict[str, Any]:
    """Return a Redis 8 with TLS that requires a client certificate."""
    return {"hosts": [tls_server.host], "prefix": prefix}
