"""The tests of the contract, with the smallest ACL rules, and those of traffic over TLS as well.

The environment `matrix` of hatch.toml runs them on servers of other versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from conformance.layer_case import ChannelLayer, LayerCase
from conformance.test_processes import other
from conformance.variants import PUBSUB, PUBSUB_LACKS, QUEUE, QUEUE_LACKS, Variant
from embedded_server import EmbeddedServer
from support.acl_rules import restricted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from conformance.capabilities import Capability
    from support.tls import TlsServer

__all__ = ["other"]

TRAFFIC = ("channels", "groups", "messages", "processes")
MODULES = (*TRAFFIC, "capacity", "encryption", "expiry", "flush", "loops", "names", "receivers")
for module in MODULES:
    # pytest finds them here as well, and gives them the fixtures below.
    found = vars(import_module(f"conformance.test_{module}"))
    globals().update({name: test for name, test in found.items() if name.startswith("test_")})

LACKS: dict[str, Mapping[Capability, str]] = {QUEUE: QUEUE_LACKS, PUBSUB: PUBSUB_LACKS}


@dataclass(frozen=True)
class Deployment:
    """A way to run a server.

    Attributes:
        fixture: The fixture that returns the layer's options.
        backend: The layer.
        modules: The modules whose tests are run.
    """

    fixture: str
    backend: str
    modules: tuple[str, ...]

    @property
    def variant(self) -> Variant:
        """The name of the variant in the conformance tests."""
        return Variant(self.fixture, self.backend, lambda _: {}, lacks=LACKS[self.backend])


DEPLOYMENTS = [
    Deployment(fixture, backend, modules)
    for fixture, modules in (("with_acl", MODULES), ("with_tls", TRAFFIC))
    for backend in (QUEUE, PUBSUB)
]
# The general channels of these tests. As the page says, Pub/Sub takes a right for each.
GENERAL_CHANNELS = ("&jobs", "&news")
# It shows that another prefix is left alone, to which the rule gives no right.
NEEDS_TWO_PREFIXES = "test_flush_leaves_other_prefixes_alone"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with each kind of server."""
    needed = [need for mark in metafunc.definition.iter_markers("needs") for need in mark.args]
    cases = []
    module = metafunc.function.__module__.removeprefix("conformance.test_")
    for deployment in DEPLOYMENTS:
        if module not in deployment.modules:
            continue
        reason = deployment.variant.reason_to_skip(needed)
        if deployment.fixture == "with_acl" and metafunc.function.__name__ == NEEDS_TWO_PREFIXES:
            reason = "the rule is for one prefix"
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        name = f"{deployment.fixture}-{deployment.backend.partition('.')[0]}"
        cases.append(pytest.param(deployment, id=name, marks=marks))
    metafunc.parametrize("deployment", cases)


@pytest.fixture
def variant(deployment: Deployment) -> Variant:
    """Return the fixture of the conformance tests."""
    return deployment.variant


@pytest_asyncio.fixture
async def case(deployment: Deployment, request: pytest.FixtureRequest) -> AsyncIterator[LayerCase]:
    """Yield a maker of layers."""
    config: dict[str, Any] = request.getfixturevalue(deployment.fixture)
    made = LayerCase(deployment.variant, config)
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
def with_acl(acl_server: EmbeddedServer, deployment: Deployment) -> dict[str, Any]:
    """Return a user with the rule of the layer, and the prefix of the rule: the default."""
    with acl_server.client() as client:
        client.flushall()
    if deployment.backend == QUEUE:
        return {"hosts": [restricted(acl_server, RedisChannelLayer)], "prefix": "asgi"}
    host = restricted(acl_server, RedisPubSubChannelLayer, *GENERAL_CHANNELS)
    return {"hosts": [host], "prefix": "asgi"}


@pytest.fixture
def with_tls(tls_server: TlsServer, prefix: str) -> dict[str, Any]:
    """Return a Redis 8 with TLS that requires a client certificate."""
    return {"hosts": [tls_server.host], "prefix": prefix}
