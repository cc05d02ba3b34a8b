"""The fixtures that the tests of faults share, and the event loops of these tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

from support.layers import layer_class, make_layer
from support.queue_layers import frequent_checks, layers, own_layers, remote_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = [
    "frequent_checks",
    "layer_class",
    "layers",
    "make_layer",
    "own_layers",
    "remote_layer",
]

# Faults of single connections, which each kind of event loop reports in its own way.
ON_UVLOOP_TOO = {"test_connections.py"}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return what makes the event loops of a test, which runs once on each."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_UVLOOP_TOO:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
