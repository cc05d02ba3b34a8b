"""The server of one layer: what it has, and what is done to it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

NAMED = "soak-"  # begins the client names of the workers' connections
FROZEN = 1.5  # seconds


class Host:
    """A server that is looked at and broken from one event loop."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self.url = server.url
        self._is_frozen = False

    def figures(self) -> dict[str, int]:
        """Return the numbers that must not grow; none while it is frozen."""
        # A look would block the event loop that is to thaw it.
        if self._is_frozen:
            return {}
        with self._server.client() as client:
            return {
                "server keys": int(client.dbsize()),
                "server memory": int(client.info("memory")["used_memory"]),
                "server clients": int(client.info("clients")["connected_clients"]),
            }

    def connections(self) -> Counter[str]:
        """Return how many connections each worker has, by client name; none while it is frozen."""
        if self._is_frozen:
            return Counter()
        with self._server.client() as client:
            return Counter(each["name"] for each in client.client_list())

    def kill_connection(self) -> bool:
        """Kill one of the workers' connections; return whether there was one."""
        with self._server.client() as client:
            ours = [each for each in client.client_list() if each["name"].startswith(NAMED)]
            return bool(ours and client.client_kill_filter(_id=random.choice(ours)["id"]))

    async def freeze(self) -> None:
        """Let it answer nothing for a moment, with all connections open."""
        self._is_frozen = True
        self._server.pause()
        try:
            await asyncio.sleep(FROZEN)
        finally:
            self._server.resume()
            self._is_frozen = False

    def restart(self) -> None:
        """Take all that it holds."""
        self._server.restart(empty=True)
