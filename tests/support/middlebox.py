"""A router or load balancer between client and server that forgets connections."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
CHUNK = 2**16
# Makes the system send a reset when the socket is closed.
RESET = struct.pack("ii", 1, 0)


class Middlebox:
    """Forwards connections in threads of its own, so that a caller may block.

    Args:
        server_port: The loopback port to forward to.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server((HOST, 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._forgotten: dict[socket.socket, str] = {}
        self._to_refuse = 0

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://{HOST}:{self._listener.getsockname()[1]}/0"

    def forget(self, how: str) -> None:
        """Forget the connections of now.

        Args:
            how: Answer the client's next packet with a `reset`, or be `silent` about it.
        """
        self._forgotten.update((client, how) for client, _ in self._pairs)

    def refuse(self, count: int) -> None:
        """Answer the first packet of the next connections with a reset."""
        self._to_refuse = count

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in (self._listener, *(end for pair in self._pairs for end in pair)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._server_port))
                self._pairs.append((client, server))
                if self._to_refuse:
                    self._to_refuse -= 1
                    self._forgotten[client] = "reset"
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                how = self._forgotten.get(source)
                if how == "reset":
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    source.close()
                    return
                if how is None:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
