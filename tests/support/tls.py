"""A server with TLS that requires client certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from embedded_server import HOST, EmbeddedServer, reserve_port
from support.certificates import Authority
from support.environments import redis_8

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self


def tls_config(
    port: int, authority: Authority, name: str = HOST, *, expired: bool = False
) -> list[str]:
    """Return the lines of a redis.conf for a port with TLS, and a new certificate for a name."""
    certificate, key = authority.issue(name, expired=expired)
    return [
        f"tls-port {port}",
        f'tls-ca-cert-file "{authority.certificate}"',
        f'tls-cert-file "{certificate}"',
        f'tls-key-file "{key}"',
    ]


class TlsServer:
    """A server with a port for TLS, besides its plain one.

    Args:
        authority: Signs the certificates of the server and of its client; the server trusts it.
        certificate: As `tls_config` takes it.
    """

    def __init__(self, authority: Authority, **certificate: Any) -> None:
        self._authority = authority
        self._reservation = reserve_port()
        self.port: int = self._reservation.getsockname()[1]
        config = tls_config(self.port, authority, **certificate)
        self.server = EmbeddedServer(*config, binary=redis_8())

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
def tls_server(authority: Authority) -> Iterator[TlsServer]:
    """Yield the server with TLS that all tests share."""
    with TlsServer(authority) as server:
        yield server
