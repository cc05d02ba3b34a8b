"""Check and serialize messages; decode them once for all the channels that they are for."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgpack
from channels.exceptions import MessageTooLarge

from ..config.options import described
from .encryption import make_cipher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..uvicorn_socket import EncodedFrame

# The key of a group message for the channels that do not get it.
EXCLUDE = "__asgi_exclude__"
# The key of a group message for its position in the history of the group.
POSITION = "__asgi_position__"
RESERVED_KEYS = ("__asgi_channel__", "__asgi_group__", "__asgi_leave__", EXCLUDE, POSITION)
_RESERVED = frozenset(RESERVED_KEYS)
MAX_MESSAGE = 512 * 1024 * 1024  # bytes, the longest string in Redis
# Seconds that a ciphertext is accepted beyond its message's expiry: hosts' clocks differ.
CLOCK_TOLERANCE = 10
# Nesting depth searched for a part that cannot be serialized: deeper takes seconds.
_MAX_DEPTH = 20
_UNREADABLE = (
    "its sender has other symmetric_encryption_keys, or another serializer_format or "
    "random_prefix_length"
)
_IMMUTABLE = {str, int, float, bool, bytes, type(None)}


class _WrongMessage(TypeError, AssertionError):
    """Raised when a message is not a dict; also an AssertionError, as in channels_redis 4."""


class _ReservedKey(ValueError, AssertionError):
    """Raised when a message has a reserved key; also an AssertionError, as in channels_redis 4."""


def sendable(message: object) -> dict[str, Any]:
    """Return a message as a layer sends it: without the position that an event may have.

    Raises:
        TypeError: It is not a dict.
        ValueError: It has a reserved key.
    """
    if not isinstance(message, dict):
        raise _WrongMessage(
            f"a message must be a dict, such as {{'type': 'chat.message'}}, "
            f"not {described(message)}"
        )
    if _RESERVED.isdisjoint(message):
        return message
    # Consumers pass on events.
    message = {key: value for key, value in message.items() if key != POSITION}
    for key in RESERVED_KEYS:
        if key in message:
            raise _ReservedKey(
                f"the message key {key!r} is reserved for channel layers: use another name"
            )
    return message


class BaseMessageSerializer(ABC):
    """Base class of serializers: adds encryption and random bytes before the message.

    Subclasses implement `as_bytes` and `from_bytes`.

    Args:
        symmetric_encryption_keys: The first key encrypts, all decrypt. None: no encryption.
        random_prefix_length: The number of random bytes before each message, which make equal
            messages different members of a set.
        expiry: Seconds after which an encrypted message can no longer be decrypted, plus 10 for
            clocks that differ. None: no limit.
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
        """Return `message` as bytes; raise any exception if it cannot be serialized."""

    @abstractmethod
    def from_bytes(self, data: bytes) -> dict[str, Any]:
        """Return the message that `as_bytes` made `data` from."""

    def serialize(self, message: dict[str, Any]) -> bytes:
        """Return `message` as the bytes to put on the wire.

        Raises:
            TypeError: A part of the message cannot be serialized; the error names it.
        """
        try:
            body = self.as_bytes(message)
        except Exception as error:  # a registered format may raise anything
            part = _find_unserializable(message, self.as_bytes)
            raise TypeError(
                f"{part}, which {type(self).__name__} cannot serialize ({error}): "
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

    @property
    def is_plain(self) -> bool:
        """True if `decrypt` returns what it is given."""
        overridden = type(self).decrypt is not BaseMessageSerializer.decrypt
        return not overridden and self._cipher is None and not self.random_prefix_length

    def encrypt(self, body: bytes) -> bytes:
        """Return `body`, encrypted if there are keys, behind random bytes."""
        if self._cipher is not None:
            body = self._cipher.encrypt(body)
        if self.random_prefix_length > 0:
            return os.urandom(self.random_prefix_length) + body
        return body

    def decrypt(self, data: bytes) -> bytes:
        """Undo `encrypt`.

        Raises:
            ValueError: Too short, or encrypted with another key, or too old.
        """
        if self.random_prefix_length > 0:
            if len(data) < self.random_prefix_length:
                raise ValueError("it is shorter than its random_prefix_length")
            data = data[self.random_prefix_length :]
        if self._cipher is not None:
            return self._cipher.decrypt(data, self._ttl)
        return data


class MsgPackSerializer(BaseMessageSerializer):
    """Serialize None, bool, int, float, str, bytes, list, tuple and dict as MessagePack."""

    def as_bytes(self, message: dict[str, Any], **arguments: Any) -> bytes:
        """Return `message` as a MessagePack map.

        Args:
            message: The message.
            arguments: Passed to `msgpack.packb` by subclasses, such as `default`.
        """
        packed: bytes = msgpack.packb(message, **arguments)
        return packed

    def from_bytes(
        self, data: bytes, *, strict_map_key: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        """Return the message in a MessagePack map; its keys need not be str.

        Args:
            data: The result of `as_bytes`.
            strict_map_key: Accept only str and bytes as keys.
            arguments: Passed to `msgpack.unpackb` by subclasses, such as `ext_hook`.
        """
        message: dict[str, Any] = msgpack.unpackb(data, strict_map_key=strict_map_key, **arguments)
        return message


class JSONSerializer(BaseMessageSerializer):
    """Serialize None, bool, int, float, str, list, tuple and dict with str keys as JSON."""

    def as_bytes(self, message: dict[str, Any], **arguments: Any) -> bytes:
        """Return `message` as a JSON object in UTF-8.

        Args:
            message: The message.
            arguments: Passed to `json.dumps` by subclasses, such as `default`.
        """
        return json.dumps(message, **arguments).encode()

    def from_bytes(self, data: bytes, **arguments: Any) -> dict[str, Any]:
        """Return the message in a JSON object.

        Args:
            data: The result of `as_bytes`.
            arguments: Passed to `json.loads` by subclasses, such as `object_hook`.
        """
        message: dict[str, Any] = json.loads(data, **arguments)
        return message


class _NoSerializer(TypeError, AssertionError):
    """Raised when a class is no serializer; an AssertionError too, as in channels_redis."""


class SerializersRegistry:
    """The serializer classes that `serializer_format` can name."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Any]] = {}

    def register_serializer(self, format: str, serializer_class: type[Any]) -> None:  # noqa: A002 - its name in channels_redis
        """Register the serializer for `format`, replacing any earlier one.

        Args:
            format: The value of a layer's `serializer_format`.
            serializer_class: A class with the methods `serialize` and `deserialize`, for
                instance a subclass of `BaseMessageSerializer`. It is called with the keyword
                arguments `symmetric_encryption_keys`, `random_prefix_length` and `expiry`.

        Raises:
            TypeError: `format` is not a str, or `serializer_class` is no such class.
        """
        if not isinstance(format, str):
            raise TypeError(f"the name of a format must be a str, not a {type(format).__name__}")
        # Not by issubclass: each layer's package has its own BaseMessageSerializer.
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
            ValueError: No serializer is registered for `format`. Not a KeyError, which Channels
                takes for a missing alias.
        """
        serializer_class = self._classes.get(format) if isinstance(format, str) else None
        if serializer_class is None:
            raise ValueError(
                f"no serializer is registered for the format {format!r}, only for "
                f"{', '.join(map(repr, sorted(self._classes)))}: write one of these, or add yours "
                "with registry.register_serializer"
            )
        return serializer_class(**arguments)


def encode(serialize: Callable[[dict[str, Any]], Any], message: dict[str, Any]) -> bytes:
    """Return a message as Redis gets it.

    Args:
        serialize: A serializer's method, or the layer's if its class overrides that.
        message: The message.

    Raises:
        TypeError: A part of the message cannot be serialized.
        channels.exceptions.MessageTooLarge: Redis takes no message of this size.
    """
    # A registered serializer may return a bytearray.
    data = bytes(serialize(message))
    if len(data) > MAX_MESSAGE:
        raise MessageTooLarge(f"{len(data)} bytes; Redis takes at most {MAX_MESSAGE}")
    return data


class DecodedMessage:
    """A message for one or more channels, each of which gets its own copy.

    Args:
        body: The message as bytes.
        load: Decodes the body.
        message: The decoded body.
    """

    __slots__ = ("_body", "_first", "_flat", "_load", "excluded", "frames")

    def __init__(
        self, body: bytes, load: Callable[[bytes], dict[str, Any]], message: dict[str, Any]
    ) -> None:
        self._body = body
        self._load = load
        # The channels that do not get it.
        self.excluded = _pop_excluded(message) if EXCLUDE in message else ()
        # Most messages hold immutable values only, for which a shallow copy is enough.
        self._flat = message if _IMMUTABLE.issuperset(map(type, message.values())) else None
        self._first: dict[str, Any] | None = message
        # The frames that `broadcast` handlers have built from it, by consumer class.
        self.frames: dict[type, EncodedFrame | None] | None = None

    @property
    def type(self) -> object:
        """The message's type."""
        return (self._flat or self._first or self._decode()).get("type")

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of the caller's own."""
        if self._flat is not None:
            return self._flat.copy()
        # The first copy needs no decoding.
        first, self._first = self._first, None
        return first or self._decode()

    def _decode(self) -> dict[str, Any]:
        message = self._load(self._body)
        message.pop(EXCLUDE, None)
        return message


Decoded = TypeVar("Decoded", bound=DecodedMessage)


class MessageDecoder(Generic[Decoded]):
    """Decode received bytes with a layer's serializer.

    Args:
        serializer: A serializer, or the layer if its class overrides `deserialize`.
        message_class: The class of the decoded messages.
    """

    def __init__(self, serializer: Any, message_class: type[Decoded]) -> None:
        self._message_class = message_class
        # A user's own `deserialize` need not consist of `decrypt` and `from_bytes`.
        cls = next(cls for cls in type(serializer).__mro__ if "deserialize" in vars(cls))
        in_steps = "decrypt" in vars(cls)
        # Returns bytes as they are. A call of our own for each message costs more.
        is_plain = isinstance(serializer, BaseMessageSerializer) and serializer.is_plain
        self._decrypt = serializer.decrypt if in_steps and not is_plain else bytes
        self._load = serializer.from_bytes if in_steps else serializer.deserialize

    def decode(self, data: bytes, position: str | None = None) -> Decoded:
        """Return the message in these bytes.

        Args:
            data: The bytes.
            position: The message's position in the history of its group, if it has one.

        Raises:
            ValueError: Not a message of this layer.
            TypeError: It is no dict.
        """
        body = self._decrypt(data)
        load = self._load if position is None else partial(_load_with, position, self._load)
        try:
            message = load(body)
        except Exception as error:  # a registered format may raise anything
            raise ValueError(f"{_UNREADABLE} ({error})") from error
        if not isinstance(message, dict):
            raise TypeError(f"it holds a {type(message).__name__}, not a dict")
        return self._message_class(body, load, message)


def _load_with(
    position: str, load: Callable[[bytes], dict[str, Any]], body: bytes
) -> dict[str, Any]:
    message = load(body)
    message[POSITION] = position
    return message


def _pop_excluded(message: dict[str, Any]) -> tuple[str, ...]:
    names = message.pop(EXCLUDE)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"it has {EXCLUDE} that is no list of channels")
    return tuple(names)


def _find_unserializable(
    message: dict[str, Any], as_bytes: Callable[[dict[str, Any]], bytes]
) -> str:
    """Return, for instance, `"message['user']['joined'] is of type datetime.datetime"`.

    Works for every format: it serializes smaller and smaller parts.
    """
    path, part = "message", message
    seen: list[Any] = []
    while len(seen) < _MAX_DEPTH:
        if any(part is one for one in seen):
            return f"{path} contains itself"
        seen.append(part)
        children: Iterable[tuple[Any, Any]] = ()
        if isinstance(part, dict):
            children = part.items()
        elif isinstance(part, list | tuple):
            children = enumerate(part)
        for key, child in children:
            if isinstance(part, dict) and not _succeeds(as_bytes, {key: None}):
                return f"{path} has the key {key!r} of type {_type_name(key)}"
            if not _succeeds(as_bytes, {"": child}):
                path, part = f"{path}[{key!r}]", child
                break
        else:
            return f"{path} is of type {_type_name(part)}"
    return f"there is something deep in {path}"


def _succeeds(as_bytes: Callable[[dict[str, Any]], bytes], message: dict[str, Any]) -> bool:
    try:
        as_bytes(message)
    except Exception:  # noqa: BLE001 - a registered format may raise anything
        return False
    return True


def _type_name(value: object) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


registry = SerializersRegistry()
registry.register_serializer("json", JSONSerializer)
registry.register_serializer("msgpack", MsgPackSerializer)
