"""Both layers, as the ones that consumers get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from broadcast.sites import Socket
from support.default_layer import default_layer
from support.layers import layer_class, make_layer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = ["layer_class", "make_layer"]


@pytest.fixture
def layer(make_layer: Callable[..., Any]) -> Iterator[Any]:
    """Yield the layer of the consumers."""
    with default_layer(make_layer()) as layer:
        yield layer


@pytest.fixture
def sender(make_layer: Callable[..., Any]) -> Any:
    """Return the layer of another process."""
    return make_layer()


@pytest_asyncio.fixture
async def connect(
    layer: Any,  # noqa: ARG001 - consumers take it
) -> AsyncIterator[Callable[..., Awaitable[Socket]]]:
    """Yield a coroutine function that connects WebSockets, which end with the test."""
    made: list[Socket] = []

    async def open_socket(consumer: Any, before_write: Callable[[], Any] | None = None) -> Socket:
        made.append(Socket(consumer))
        made[-1].before_write = before_write
        await made[-1].opened()
        return made[-1]

    yield open_socket
    for socket in made:
        await socket.stop()
