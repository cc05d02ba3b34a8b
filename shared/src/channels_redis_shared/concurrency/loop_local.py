"""Keep one value for each event loop, and close it when the loop ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class Closable(Protocol):
    """A value that belongs to an event loop."""

    async def close(self) -> None:
        """Close the value, in its own loop."""

    def abandon(self) -> None:
        """Discard the value without closing it; its loop is already closed."""


Kept = TypeVar("Kept", bound=Closable)


class LoopLocal(Generic[Kept]):
    """One value for each event loop, made at the first use.

    A loop that ends as `asyncio.run` ends it closes its value. If a loop was closed without that,
    its value is abandoned at the next use from another loop.
    """

    def __init__(self, make: Callable[[], Kept]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._kept: dict[asyncio.AbstractEventLoop, tuple[Kept, AsyncGenerator[None, None]]] = {}

    def get(self) -> Kept:
        """Return the running loop's value."""
        loop = asyncio.get_running_loop()
        entry = self._kept.get(loop)
        if entry is None:
            value = self._make()
            closer = self._closer(loop, value)
            entry = (value, closer)
            with self._lock:
                self._abandon_closed_loops()
                self._kept[loop] = entry
            _start(closer)
        return entry[0]

    def values(self) -> list[Kept]:
        """Return the values of all loops."""
        return [value for value, _ in list(self._kept.values())]

    def find(self) -> Kept | None:
        """Return the running loop's value, if there is one."""
        entry = self._kept.get(asyncio.get_running_loop())
        return None if entry is None else entry[0]

    async def close(self) -> None:
        """Close the running loop's value, if there is one."""
        entry = self._kept.get(asyncio.get_running_loop())
        if entry is not None:
            await entry[1].aclose()

    async def _closer(
        self, loop: asyncio.AbstractEventLoop, value: Kept
    ) -> AsyncGenerator[None, None]:
        # The end of a loop can only be noticed by an asynchronous generator, which it finalises.
        try:
            yield
        finally:
            self._kept.pop(loop, None)
            await value.close()

    def _abandon_closed_loops(self) -> None:
        # Other threads add and remove meanwhile, without a lock.
        for loop in [loop for loop in list(self._kept) if loop.is_closed()]:
            entry = self._kept.pop(loop, None)
            if entry is not None:
                entry[0].abandon()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _start(generator: AsyncGenerator[None, None]) -> None:
    """Run the generator up to its first `yield`, which takes no turn of the loop."""
    with contextlib.suppress(StopIteration):
        generator.__anext__().send(None)
