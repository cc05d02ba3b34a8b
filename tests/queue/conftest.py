"""The fixtures that the tests of the queue layer share."""

from __future__ import annotations

from support.queue_layers import frequent_checks, layers, own_layers, remote_layer

__all__ = ["frequent_checks", "layers", "own_layers", "remote_layer"]
