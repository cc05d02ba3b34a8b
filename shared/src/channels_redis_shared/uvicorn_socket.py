"""Write a frame to many of Uvicorn's WebSockets as it is, encoded once.

This is all that touches Uvicorn's attributes. Behind `send`, Uvicorn encodes a frame again for each
socket, and compresses it again if the browser can read that: two thirds of what a broadcast costs.
A frame that a server sends is the same for all sockets until it is compressed, and may be sent
uncompressed to any of them (RFC 7692, section 6); later compressed frames do not refer to it.

Any other server, and a Uvicorn whose attributes have changed, gets its frames through `send`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Bytes up to which compressing a frame costs more than it saves.
MAX_UNCOMPRESSED = 1024
# Uvicorn's default since 0.50; before, `--ws websockets-sansio`.
_MODULE = "uvicorn.protocols.websockets.websockets_sansio_impl"


class EncodedFrame(dict[str, Any]):
    """An ASGI message with a frame, and the bytes of the frame."""

    __slots__ = ("_encoded",)

    @property
    def encoded(self) -> bytes:
        """The frame as a server sends it, uncompressed."""
        try:
            return self._encoded
        except AttributeError:
            # The server has imported them already.
            from websockets.frames import Frame, Opcode  # noqa: PLC0415

            if "text" in self:
                frame = Frame(Opcode.TEXT, self["text"].encode())
            else:
                frame = Frame(Opcode.BINARY, self["bytes"])
            self._encoded: bytes = frame.serialize(mask=False)
            return self._encoded


class UvicornSocket:
    """The WebSocket behind the ASGI `send` of one connection of Uvicorn.

    Args:
        protocol: Uvicorn's object for the connection.
    """

    __slots__ = ("_connection", "_open", "_protocol")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._connection = protocol.conn
        self._open = type(protocol.conn.state).OPEN
        # What is missing is missed here, not at the first frame.
        _ = protocol.transport, protocol.writable, protocol.conn.extensions

    @classmethod
    def behind(cls, send: Callable[..., Awaitable[None]]) -> UvicornSocket | None:
        """Return the open WebSocket behind a `send`; None if it is not one of Uvicorn's."""
        protocol = getattr(send, "__self__", None)
        if type(protocol).__module__ != _MODULE:
            return None
        try:
            return cls(protocol)
        except AttributeError:
            return None

    def write(self, frame: EncodedFrame) -> bool:
        """Write a frame now; return False, and leave it to `send`, if it cannot go out as it is."""
        protocol, connection = self._protocol, self._connection
        try:
            encoded = frame.encoded
            if (
                protocol.transport.is_closing()
                or connection.state is not self._open
                or not protocol.writable.is_set()
                or (len(encoded) > MAX_UNCOMPRESSED and connection.extensions)
            ):
                return False
            protocol.transport.write(encoded)
        except Exception:  # noqa: BLE001 - `send` raises it in the consumer
            return False
        return True
