"""Waiting for something to become true, without guessing how long that takes."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from embedded_server import EmbeddedServer

T = TypeVar("T")

FIRST_STEP = 0.002  # seconds between the first looks
LONGEST_STEP = 0.05  # seconds between later ones


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], timeout: float = ...) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], timeout: float = ...) -> T: ...
async def eventually(predicate: Callable[[], T | Awaitable[T]], timeout: float = 15) -> T:
    """Call ``predicate`` until it returns something true, and return that.

    Args:
        predicate: A function or coroutine function without arguments.
        timeout: Seconds after which to give up. Make it generous: it only costs time in a test
            that fails.

    Raises:
        TimeoutError: It never became true; the message holds what it returned last.
    """
    deadline = time.monotonic() + timeout
    step = FIRST_STEP
    while True:
        result = predicate()
        value: T = await result if inspect.isawaitable(result) else result
        if value:
            return value
        if time.monotonic() > deadline:
            name = getattr(predicate, "__qualname__", repr(predicate))
            message = f"{name} did not become true within {timeout} s; it is {value!r}"
            raise TimeoutError(message)
        await asyncio.sleep(step)
        step = min(step * 1.5, LONGEST_STEP)


async def all_closed(server: EmbeddedServer) -> None:
    """Wait until only the client that asks is connected to a server."""
    with server.client() as client:
        await eventually(lambda: len(client.client_list()) == 1)


async def until(moment: float) -> None:
    """Wait for a moment of `time.monotonic`."""
    while (remaining := moment - time.monotonic()) > 0:
        await asyncio.sleep(remaining)
