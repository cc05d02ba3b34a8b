"""The fixtures that the tests of the queue layer share."""

from __future__ import annotations

from queue_tools import layers, own_layers, remote_layer

__all__ = ["layers", "own_layers", "remote_layer"]
