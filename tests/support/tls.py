"""A server with TLS that requires client certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedded_server import HOST, EmbeddedServer, reserve_port

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from support.certificates import Authority


class TlsServer:
    """A server with a port for TLS, beside its plain one.

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
            f"tls-port {self.port}",
            f'tls-ca-cert-file "{authority.certificate}"',
            f'tls-cert-file "{certificate}"',
            f'tls-key-file "{key}"',
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
