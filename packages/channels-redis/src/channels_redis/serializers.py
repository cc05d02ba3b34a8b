"""The built-in message formats, and a registry for both layers.

`channels_redis_queue.serializers` and `channels_redis_pubsub.serializers` have a registry for their
own layer.
"""

from __future__ import annotations

from typing import Any

from channels_redis_pubsub.serializers import registry as pubsub_registry
from channels_redis_queue.serializers import (
    BaseMessageSerializer,
    JSONSerializer,
    MsgPackSerializer,
)
from channels_redis_queue.serializers import registry as queue_registry

__all__ = [
    "BaseMessageSerializer",
    "JSONSerializer",
    "MsgPackSerializer",
    "SerializerDoesNotExist",
    "registry",
]


class SerializerDoesNotExist(KeyError):
    """Raised when no serializer is registered for a format."""

    __str__ = Exception.__str__  # KeyError would show the text in quotes


class SerializersRegistry:
    """Register serializers in both layers' registries."""

    def register_serializer(self, format: str, serializer_class: type[Any]) -> None:  # noqa: A002 - channels_redis named it so
        """Make `serializer_class` the serializer for `format` in both layers.

        Args:
            format: The name to give as a layer's `serializer_format`.
            serializer_class: A class with the methods `serialize` and `deserialize`, for instance
                a subclass of `BaseMessageSerializer`. A layer calls it with the keyword arguments
                `symmetric_encryption_keys`, `random_prefix_length` and `expiry`.

        Raises:
            TypeError: `format` is not a str, or `serializer_class` is no such class.
        """
        for layer_registry in (queue_registry, pubsub_registry):
            layer_registry.register_serializer(format, serializer_class)

    def get_serializer(self, format: str, **arguments: Any) -> Any:  # noqa: A002 - channels_redis named it so
        """Return a new serializer for `format`, made with `arguments`.

        Raises:
            SerializerDoesNotExist: No serializer is registered for `format`.
        """
        try:
            return queue_registry.get_serializer(format, **arguments)
        except ValueError as error:
            if format in queue_registry:
                raise
            raise SerializerDoesNotExist(*error.args) from None


registry = SerializersRegistry()
