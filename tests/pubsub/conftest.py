"""The fixtures that the tests of the Pub/Sub layer share."""

from __future__ import annotations

from support.pubsub_layers import layers, own_layers

__all__ = ["layers", "own_layers"]
