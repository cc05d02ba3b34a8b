"""Runs each test of the contract on the variants that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from conformance.layer_case import ChannelLayer, LayerCase
from conformance.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each variant that is for it and has the capabilities."""
    if "variant" not in metafunc.fixturenames:
        return
    needed = [need for mark in metafunc.definition.iter_markers("needs") for need in mark.args]
    module = metafunc.module.__name__.rpartition("test_")[2]
    cases = [variant for variant in VARIANTS if variant.runs(module, needed)]
    metafunc.parametrize("variant", cases, ids=[variant.name for variant in cases])


@pytest_asyncio.fixture
async def case(
    variant: Variant,
    redis_server: EmbeddedServer,
    redis_shards: tuple[EmbeddedServer, ...],
    prefix: str,
    request: pytest.FixtureRequest,
) -> AsyncIterator[LayerCase]:
    """A maker of layers that share their servers and a prefix of their own."""
    servers: Sequence[EmbeddedServer] = redis_shards[: variant.shards]
    if variant.cluster:
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
