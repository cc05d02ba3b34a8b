"""Message formats: the ones built in, and the registry in which to add your own.

The name under which a class is registered is what a layer's `serializer_format` takes.
"""

from __future__ import annotations

from ._shared.messages.serializers import (
    BaseMessageSerializer,
    JSONSerializer,
    MsgPackSerializer,
    registry,
)

__all__ = ["BaseMessageSerializer", "JSONSerializer", "MsgPackSerializer", "registry"]
