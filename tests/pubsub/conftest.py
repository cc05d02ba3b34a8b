"""The fixtures that the tests of the Pub/Sub layer share."""

from __future__ import annotations

from support.pubsub_layers import frequent_probes, frequent_sweeps, impatient, layers, own_layers

__all__ = ["frequent_probes", "frequent_sweeps", "impatient", "layers", "own_layers"]
