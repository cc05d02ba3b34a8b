"""The layer that consumers find."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from channels.layers import channel_layers
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def default_layer(layer: Any) -> Iterator[Any]:
    """Make a layer the one that `get_channel_layer` returns to consumers, and yield it."""
    if not settings.configured:
        settings.configure()
    before = channel_layers.set("default", layer)
    try:
        yield layer
    finally:
        channel_layers.set("default", before)
