"""The built-in message formats, and the registry for your own.

A layer's `serializer_format` takes the name under which a class is registered.
"""

from __future__ import annotations

from ._shared.messages.serializers import (
    BaseMessageSerializer,
    JSONSerializer,
    MsgPackSerializer,
    registry,
)

__all__ = ["BaseMessageSerializer", "JSONSerializer", "MsgPackSerializer", "registry"]
