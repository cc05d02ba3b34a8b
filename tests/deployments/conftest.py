"""Servers of kinds that the embedded one is not."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from embedded_server import HOST
from support.certificates import Authority
from support.cluster import EmbeddedCluster
from support.environments import redis_8
from support.layers import layer_class, layers
from support.queue_layers import frequent_checks
from support.tls import TlsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["frequent_checks", "layer_class", "layers"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the certificate authority that servers and clients trust."""
    return Authority(tmp_path_factory.mktemp("authority"), "The authority")


@pytest.fixture(scope="session")
def start_tls_server(authority: Authority) -> Iterator[Callable[[Path, Path], TlsServer]]:
    """Yield a function that starts a server with a certificate and its key."""
    with ExitStack() as stack:
        yield lambda certificate, key: stack.enter_context(
            TlsServer(redis_8(), authority, certificate, key)
        )


@pytest.fixture(scope="session")
def tls_server(
    start_tls_server: Callable[[Path, Path], TlsServer], authority: Authority
) -> TlsServer:
    """Return the server with TLS that all tests share."""
    return start_tls_server(*authority.issue(HOST))


@pytest.fixture(scope="session")
def named_tls_server(
    start_tls_server: Callable[[Path, Path], TlsServer], authority: Authority
) -> TlsServer:
    """Return a server whose certificate is for a name, and not for the address in its URL."""
    return start_tls_server(*authority.issue("localhost"))


@pytest.fixture
def replicated_cluster() -> Iterator[EmbeddedCluster]:
    """Yield a cluster of the test's own: three masters, each with a replica."""
    with EmbeddedCluster(replicas=1) as cluster:
        yield cluster


@pytest.fixture
def own_cluster() -> Iterator[EmbeddedCluster]:
    """Yield a Cluster of the test's own."""
    with EmbeddedCluster() as cluster:
        yield cluster
