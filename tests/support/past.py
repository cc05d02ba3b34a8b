"""Servers that come back as they were some time ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer


class Past:
    """A server's data at one time."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        with server.client() as client:
            self._values = {
                key: (client.dump(key), max(0, client.pttl(key))) for key in client.keys("*")
            }

    def come_back(self) -> None:
        """Let the server hold that again. No connection ends."""
        with self._server.client() as client, client.pipeline() as transaction:
            transaction.flushall()
            for key, (value, lives) in self._values.items():
                transaction.restore(key, lives, value)
            transaction.execute()
