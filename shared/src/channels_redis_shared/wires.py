"""Connections that belong to no event loop: whichever loop has a command to send uses one."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
import weakref
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .deadlines import timeout
from .incoming import INCOMPLETE, PUSHED

# What `Wire.exchange` returns when nothing was sent.
NOT_SENT = object()
# Bytes that are read at once: more than nearly all replies have, and soon allocated.
_MOST = 4_096
# Milliseconds that a reply is waited for in place. A server nearby has answered by then, and to
# have the loop wait for it would take as long again.
_IN_PLACE = 1

_open: weakref.WeakSet[Wire] = weakref.WeakSet()


def _close_all() -> None:
    for wire in list(_open):
        wire.close()


if hasattr(os, "register_at_fork"):
    # The child closes its copies, which says nothing to the server or to the parent's selector.
    os.register_at_fork(after_in_child=_close_all)


class Wire:
    """An open connection on which nothing is under way.

    It is closed when it is collected and at the interpreter's exit, if not before.

    Args:
        descriptor: A socket's; it becomes this object's.
        reader: What `incoming.reader` returned for the connection.
    """

    def __init__(self, descriptor: int, reader: Any) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(0)
        self._reader = reader
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        # Tells whether anything came, the end included; waits for it for some milliseconds.
        self._comes = poll.poll
        self.close = weakref.finalize(self, self._socket.close)
        _open.add(self)

    async def exchange(self, packed: bytes, seconds: float) -> Any:
        """Send a command that `pack` has returned and return its reply, or an error it replied.

        After an error, and after a call that was cancelled, the connection can't be used any more:
        a late reply would be taken for another's.

        Returns:
            The reply; NOT_SENT if the connection was lost before any byte was written.

        Raises:
            redis.exceptions.TimeoutError: The reply did not come in time.
            redis.exceptions.ConnectionError: The connection broke.
        """
        # Nothing is due: what is there is the end, or was sent unasked.
        if self._comes(0):
            return NOT_SENT
        try:
            sent = self._socket.send(packed)
        except OSError:
            return NOT_SENT
        try:
            if self._comes(_IN_PLACE):
                self._feed(self._socket.recv(_MOST))
            reply = self._next()
            if reply is INCOMPLETE:
                reply = await self._rest(packed[sent:], seconds)
        except asyncio.TimeoutError:
            raise RedisTimeoutError(f"The server did not answer within {seconds:g} s") from None
        except OSError as error:
            raise RedisConnectionError(f"Connection lost: {error}") from error
        return reply

    async def _rest(self, unsent: bytes, seconds: float) -> Any:
        """Send the rest of a command, and return the reply."""
        loop = asyncio.get_running_loop()
        async with timeout(seconds):
            if unsent:
                await loop.sock_sendall(self._socket, unsent)
            while (reply := self._next()) is INCOMPLETE:
                self._feed(await loop.sock_recv(self._socket, _MOST))
        return reply

    def _feed(self, data: bytes) -> None:
        if not data:
            raise RedisConnectionError("Connection closed by server.")
        self._reader.feed(data)

    def _next(self) -> Any:
        reply = self._reader.gets()
        while isinstance(reply, PUSHED):
            reply = self._reader.gets()
        return reply


class Shelf:
    """Where the one wire to a host lies while nobody uses it. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._is_free = False

    @property
    def is_empty(self) -> bool:
        """Tell whether there is no wire, not even one in use."""
        return self._wire is None

    def fill(self, wire: Wire) -> None:
        """Put a new wire here, if there is none."""
        with self._lock:
            if self._wire is None:
                self._wire, self._is_free = wire, True
                return
        wire.close()

    def take(self) -> Wire | None:
        """Return the wire, which is the caller's alone now; None if there is none to be had."""
        with self._lock:
            if not self._is_free:
                return None
            self._is_free = False
            return self._wire

    def give_back(self, wire: Wire, *, usable: bool) -> None:
        """Let others use the wire, or if it is not usable, close it."""
        with self._lock:
            # Another one, or none, if the shelf was cleared meanwhile.
            if self._wire is wire:
                self._is_free = usable
                if usable:
                    return
                self._wire = None
        wire.close()

    def clear(self) -> None:
        """Close the wire; one in use, when it comes back."""
        with self._lock:
            wire, self._wire = self._wire, None
            was_free, self._is_free = self._is_free, False
        if wire is not None and was_free:
            wire.close()
