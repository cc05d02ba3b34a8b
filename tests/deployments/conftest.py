"""Servers of kinds that the embedded one is not."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from deployments.certificates import Authority
from deployments.layers import LAYERS, Layers
from deployments.tls import TlsServer
from embedded_server import HOST
from environments import redis_8

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from deployments.layers import LayerClass


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of the tests of the contract, which are run here as well."""
    config.addinivalue_line("markers", "needs(*capabilities): what the layer must be able to do")


@pytest_asyncio.fixture
async def layers() -> AsyncIterator[Layers]:
    """Give a maker of layers, which are closed after the test."""
    made = Layers()
    yield made
    await made.close()


@pytest.fixture(params=LAYERS, ids=lambda layer: layer.__name__)
def layer_class(request: pytest.FixtureRequest) -> LayerClass:
    """Give each of the two layers' classes in turn."""
    chosen: LayerClass = request.param
    return chosen


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give the certificate authority that servers and clients trust."""
    return Authority(tmp_path_factory.mktemp("authority"), "The authority")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Give a certificate authority that nobody trusts."""
    return Authority(tmp_path, "A stranger")


@pytest.fixture(scope="session")
def start_tls_server(authority: Authority) -> Iterator[Callable[[Path, Path], TlsServer]]:
    """Give a function that starts a server with a certificate and its key."""
    with ExitStack() as stack:
        yield lambda certificate, key: stack.enter_context(
            TlsServer(redis_8(), authority, certificate, key)
        )


@pytest.fixture(scope="session")
def tls_server(
    start_tls_server: Callable[[Path, Path], TlsServer], authority: Authority
) -> TlsServer:
    """Give the server with TLS that all tests share."""
    return start_tls_server(*authority.issue(HOST))


@pytest.fixture(scope="session")
def named_tls_server(
    start_tls_server: Callable[[Path, Path], TlsServer], authority: Authority
) -> TlsServer:
    """Give a server whose certificate is for a name, and not for the address in its URL."""
    return start_tls_server(*authority.issue("localhost"))
