"""The fixtures that the tests of the queue layer share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.queue_layers import frequent_checks, layers, own_layers, remote_layer

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.queue_layers import Layers

__all__ = ["frequent_checks", "layers", "own_layers", "remote_layer"]


@pytest.fixture(params=["one server", "shards", "cluster", "tagged prefix"])
def options(
    request: pytest.FixtureRequest,
    layers: Layers,
    redis_shards: tuple[EmbeddedServer, ...],
    redis_cluster: EmbeddedCluster,
    prefix: str,
) -> dict[str, Any]:
    """Return the options of a site on servers of each kind."""
    kinds: dict[str, dict[str, Any]] = {
        "one server": {},
        "shards": {"hosts": [server.url for server in redis_shards]},
        "cluster": {"hosts": [redis_cluster.host]},
        "tagged prefix": {"hosts": [redis_cluster.host], "prefix": f"{{{prefix}}}"},
    }
    return {**layers.options, **kinds[request.param]}
