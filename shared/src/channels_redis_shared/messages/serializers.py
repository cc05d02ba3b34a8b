"""Messages to bytes and back, and the registry of the formats for it."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import msgpack

from .encryption import make_cipher
from .offenders import find_offender

if TYPE_CHECKING:
    from collections.abc import Sequence

# How much longer than a message's expiry its ciphertext is accepted: hosts' clocks differ.
CLOCK_TOLERANCE = 10


class BaseMessageSerializer(ABC):
    """Base of the serializers: encrypts, and puts random bytes before the message.

    A subclass says how a message becomes bytes (`as_bytes`) and how bytes become a message
    (`from_bytes`).

    Args:
        symmetric_encryption_keys: The keys; the first encrypts, all decrypt. None: no encryption.
        random_prefix_length: How many random bytes to put before each message, so that equal
            messages are different members of a set.
        expiry: Seconds that a message may live. An encrypted one older than that, and 10 seconds
            for clocks that differ, cannot be decrypted. None: no limit.
    """

    def __init__(
        self,
        symmetric_encryption_keys: Sequence[str | bytes] | None = None,
        random_prefix_length: int = 0,
        expiry: int | None = None,
    ) -> None:
        self.random_prefix_length = random_prefix_length
        self.expiry = expiry
        self._cipher = make_cipher(symmetric_encryption_keys)
        self._ttl = None if expiry is None else expiry + CLOCK_TOLERANCE

    @abstractmethod
    def as_bytes(self, message: dict[str, Any]) -> bytes:
        """Return `message` as bytes; raise any error if that cannot be done."""

    @abstractmethod
    def from_bytes(self, data: bytes) -> dict[str, Any]:
        """Return the message that `as_bytes` made `data` from."""

    def serialize(self, message: dict[str, Any]) -> bytes:
        """Return `message` as the bytes to put on the wire.

        Raises:
            TypeError: A part of the message cannot be serialized; the text names it.
        """
        try:
            body = self.as_bytes(message)
        except Exception as error:  # a registered format may raise anything
            offender = find_offender(message, self.as_bytes)
            raise TypeError(
                f"{offender}, which {type(self).__name__} cannot serialize ({error}): "
                "send plain values, such as str(value)"
            ) from error
        return self.encrypt(body)

    def deserialize(self, data: bytes) -> dict[str, Any]:
        """Return the message that `serialize` made `data` from.

        Raises:
            ValueError: Not a message of this format, or encrypted with another key, or too old.
        """
        body = self.decrypt(data)
        try:
            message = self.from_bytes(body)
        except Exception as error:  # a registered format may raise anything
            raise ValueError(f"{type(self).__name__} cannot read it: {error}") from error
        if not isinstance(message, dict):
            raise ValueError(f"it is of type {type(message).__name__}, not a dict")
        return message

    def encrypt(self, body: bytes) -> bytes:
        """Return `body`, encrypted if there are keys, with random bytes before it."""
        if self._cipher is not None:
            body = self._cipher.encrypt(body)
        if self.random_prefix_length > 0:
            return os.urandom(self.random_prefix_length) + body
        return body

    def decrypt(self, data: bytes) -> bytes:
        """Return what `encrypt` made `data` from.

        Raises:
            ValueError: Too short, or encrypted with another key, or too old.
        """
        if self.random_prefix_length > 0:
            if len(data) < self.random_prefix_length:
                raise ValueError("it is shorter than its random prefix")
            data = data[self.random_prefix_length :]
        if self._cipher is not None:
            return self._cipher.decrypt(data, self._ttl)
        return data


class MsgPackSerializer(BaseMessageSerializer):
    """Serializes with MessagePack: None, bool, int, float, str, bytes, list, tuple, dict."""

    def as_bytes(self, message: dict[str, Any], **arguments: Any) -> bytes:
        """Return `message` as a MessagePack map.

        Args:
            message: The message.
            arguments: What a subclass passes on to `msgpack.packb`, such as `default`.
        """
        packed: bytes = msgpack.packb(message, **arguments)
        return packed

    def from_bytes(
        self, data: bytes, *, strict_map_key: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        """Return the message in a MessagePack map; its keys need not be str.

        Args:
            data: What `as_bytes` returned.
            strict_map_key: Whether keys must be str or bytes.
            arguments: What a subclass passes on to `msgpack.unpackb`, such as `ext_hook`.
        """
        message: dict[str, Any] = msgpack.unpackb(data, strict_map_key=strict_map_key, **arguments)
        return message


class JSONSerializer(BaseMessageSerializer):
    """Serializes with JSON: None, bool, int, float, str, list, tuple, dict with str keys."""

    def as_bytes(self, message: dict[str, Any], **arguments: Any) -> bytes:
        """Return `message` as a JSON object in UTF-8.

        Args:
            message: The message.
            arguments: What a subclass passes on to `json.dumps`, such as `default`.
        """
        return json.dumps(message, **arguments).encode()

    def from_bytes(self, data: bytes, **arguments: Any) -> dict[str, Any]:
        """Return the message in a JSON object.

        Args:
            data: What `as_bytes` returned.
            arguments: What a subclass passes on to `json.loads`, such as `object_hook`.
        """
        message: dict[str, Any] = json.loads(data, **arguments)
        return message


class _NoSerializer(TypeError, AssertionError):
    """Raised when a class is no serializer; also an AssertionError, as it is in channels_redis."""


class SerializersRegistry:
    """The serializer classes that `serializer_format` can name."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Any]] = {}

    def register_serializer(self, format: str, serializer_class: type[Any]) -> None:  # noqa: A002 - its name in channels_redis
        """Make `serializer_class` the serializer for `format`, in place of an earlier one.

        Args:
            format: The name to give as a layer's `serializer_format`.
            serializer_class: A class with the methods `serialize` and `deserialize`, for
                instance a subclass of `BaseMessageSerializer`. It is called with the keyword
                arguments `symmetric_encryption_keys`, `random_prefix_length` and `expiry`.

        Raises:
            TypeError: `format` is not a str, or `serializer_class` is no such class.
        """
        if not isinstance(format, str):
            raise TypeError(f"the name of a format must be a str, not a {type(format).__name__}")
        # Not by issubclass: each layer's package has a BaseMessageSerializer of its own.
        if not isinstance(serializer_class, type) or not all(
            callable(getattr(serializer_class, method, None))
            for method in ("serialize", "deserialize")
        ):
            raise _NoSerializer(
                f"the serializer for {format!r} must be a class with the methods serialize and "
                f"deserialize, such as a subclass of BaseMessageSerializer, "
                f"not {serializer_class!r}"
            )
        self._classes[format] = serializer_class

    def __contains__(self, format: object) -> bool:  # noqa: A002 - as in the methods
        return format in self._classes

    def get_serializer(self, format: str, **arguments: Any) -> Any:  # noqa: A002 - any class may be registered
        """Return a new serializer for `format`, made with `arguments`.

        Raises:
            ValueError: No serializer is registered for `format`. Not a KeyError: Channels takes
                that for an alias that is missing, and returns None for the layer.
        """
        serializer_class = self._classes.get(format) if isinstance(format, str) else None
        if serializer_class is None:
            raise ValueError(
                f"no serializer is registered for the format {format!r}, only for "
                f"{', '.join(map(repr, sorted(self._classes)))}: write one of these, or add yours "
                "with registry.register_serializer"
            )
        return serializer_class(**arguments)


registry = SerializersRegistry()
registry.register_serializer("json", JSONSerializer)
registry.register_serializer("msgpack", MsgPackSerializer)
