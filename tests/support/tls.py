"""A server with TLS that requires client certificates."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from embedded_server import HOST, EmbeddedServer, reserve_port
from support.certificates import Authority
from support.environments import redis_8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Self


def tls_config(port: int, authority: Authority, certificate: Path, key: Path) -> list[str]:
    """Return the lines of a redis.conf for a port with TLS."""
    return [
        f"tls-port {port}",
        f'tls-ca-cert-file "{authority.certificate}"',
        f'tls-cert-file "{certificate}"',
        f'tls-key-file "{key}"',
    ]


class TlsServer:
    """A server with a port for TLS, besides its plain one.

    Args:
        binary: A redis-server that was built with TLS.
        authority: Signs the client's certificate; the server trusts it.
        certificate: The server's certificate.
        key: Its key.
    """

    def __init__(self, binary: str, authority: Authority, certificate: Path, key: Path) -> None:
        self._authority = authority
        self._reservation = reserve_port()
        self.port: int = self._reservation.getsockname()[1]
        self.server = EmbeddedServer(
            *tls_config(self.port, authority, certificate, key),
            binary=binary,
        )

    @property
    def url(self) -> str:
        """The server's address."""
        return f"rediss://{HOST}:{self.port}"

    @property
    def host(self) -> dict[str, Any]:
        """The entry of `hosts` for this server, with a certificate for the client."""
        certificate, key = self._authority.issue("client")
        return {
            "address": self.url,
            "ssl_ca_certs": str(self._authority.certificate),
            "ssl_certfile": str(certificate),
            "ssl_keyfile": str(key),
        }

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self._reservation.close()


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
