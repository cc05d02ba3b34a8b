"""Runs each test of the contract on the variants that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from django.utils.module_loading import import_string

from conformance.layer_case import ChannelLayer, LayerCase
from conformance.variants import PUBSUB, VARIANTS, Variant
from support.acl_rules import restricted
from support.tls import authority, tls_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer

__all__ = ["authority", "tls_server"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each variant that is for it and has the capabilities."""
    if "variant" not in metafunc.fixturenames:
        return
    needed = [need for mark in metafunc.definition.iter_markers("needs") for need in mark.args]
    module = metafunc.module.__name__.rpartition("test_")[2]
    cases = [variant for variant in VARIANTS if variant.runs(module, needed)]
    metafunc.parametrize("variant", cases, ids=[variant.name for variant in cases])


@pytest.fixture
def host_with_rule(redis_server: EmbeddedServer, variant: Variant) -> dict[str, str]:
    """The server for a user with the documentation's rule, which is for the default prefix."""
    with redis_server.client() as client:
        client.flushall()
    # Pub/Sub takes a right for each general channel.
    rights = ("&jobs", "&news") if variant.backend == PUBSUB else ()
    return restricted(redis_server, import_string(variant.backend), *rights)


@pytest_asyncio.fixture
async def case(
    variant: Variant, prefix: str, request: pytest.FixtureRequest
) -> AsyncIterator[LayerCase]:
    """A maker of layers that share their servers and their own prefix."""
    config: dict[str, Any] = {}
    if variant.server:
        hosts = variant.hosts(request.getfixturevalue(variant.server))
        config = {"hosts": hosts, "prefix": prefix, **variant.options}
    made = LayerCase(variant, config)
    yield made
    await made.close()


@pytest.fixture
def layer(case: LayerCase) -> ChannelLayer:
    """One layer with the variant's own options."""
    return case.layer()
