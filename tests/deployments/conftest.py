"""Servers of kinds that the embedded one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster import EmbeddedCluster
from support.layers import layer_class, layers
from support.queue_layers import frequent_checks
from support.tls import TlsServer, authority, tls_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Authority

__all__ = ["authority", "frequent_checks", "layer_class", "layers", "tls_server"]


@pytest.fixture(scope="session")
def named_tls_server(authority: Authority) -> Iterator[TlsServer]:
    """Yield a server with a certificate for a name, and not for the address in its URL."""
    with TlsServer(authority, name="localhost") as server:
        yield server


@pytest.fixture
def replicated_cluster() -> Iterator[EmbeddedCluster]:
    """Yield a Cluster for one test: three masters, each with a replica."""
    with EmbeddedCluster(replicas=1) as cluster:
        yield cluster


@pytest.fixture
def own_cluster() -> Iterator[EmbeddedCluster]:
    """Yield a Cluster for one test."""
    with EmbeddedCluster() as cluster:
        yield cluster


@pytest.fixture
def lone_masters() -> Iterator[EmbeddedCluster]:
    """Yield a Cluster for one test; its nodes work without each other."""
    with EmbeddedCluster("cluster-require-full-coverage no") as cluster:
        yield cluster
