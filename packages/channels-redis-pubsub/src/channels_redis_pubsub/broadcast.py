"""Send group messages straight to WebSockets, without a handler call for each member."""

from __future__ import annotations

from ._shared.broadcast import Broadcasts, broadcast

__all__ = ["Broadcasts", "broadcast"]
