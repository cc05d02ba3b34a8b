"""The fixtures that the tests of operations share."""

from __future__ import annotations

from support.layers import layer_class, layers

__all__ = ["layer_class", "layers"]
