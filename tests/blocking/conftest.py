"""The fixtures of both layers."""

from __future__ import annotations

from support.layers import layer_class, make_layer

__all__ = ["layer_class", "make_layer"]
