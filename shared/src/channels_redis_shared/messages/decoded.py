"""Reads what arrived as bytes: a message, and a copy of it for each channel that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..config.options import EXCLUDE

if TYPE_CHECKING:
    from collections.abc import Callable

_UNCHANGEABLE = {str, int, float, bool, bytes, type(None)}


class DecodedMessage:
    """A message for one or more channels, copied for each, so that none sees another's.

    Args:
        body: The message as bytes.
        load: Decodes the body.
        message: The body, decoded once already.
    """

    __slots__ = ("_body", "_first", "_flat", "_load", "excluded")

    def __init__(
        self, body: bytes, load: Callable[[bytes], dict[str, Any]], message: dict[str, Any]
    ) -> None:
        self._body = body
        self._load = load
        # The channels that do not get it.
        self.excluded = _pop_excluded(message) if EXCLUDE in message else ()
        # Of a message in which nothing can be changed, a shallow copy does: that is most of them.
        self._flat = message if _UNCHANGEABLE.issuperset(map(type, message.values())) else None
        self._first = [message]

    def open(self) -> dict[str, Any]:
        """Return the message, as an object of its own."""
        if self._flat is not None:
            return self._flat.copy()
        try:
            # The first needs no decoding; pop is atomic, also between threads.
            return self._first.pop()
        except IndexError:
            return self._decode()

    def _decode(self) -> dict[str, Any]:
        message = self._load(self._body)
        message.pop(EXCLUDE, None)
        return message


def _pop_excluded(message: dict[str, Any]) -> tuple[str, ...]:
    names = message.pop(EXCLUDE)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"it has {EXCLUDE} that is no list of channels")
    return tuple(names)


Kind = TypeVar("Kind", bound=DecodedMessage)


class MessageDecoder(Generic[Kind]):
    """Opens letters with the serializer of a layer.

    Args:
        serializer: What `serializer_format` names, or the layer, if it has a `deserialize` of its
            own.
        letter: The class of the letters.
    """

    def __init__(self, serializer: Any, decoded: type[Kind]) -> None:
        self._decoded = decoded
        # The class whose `deserialize` it has: a user's own may not do it in these two steps.
        cls = next(cls for cls in type(serializer).__mro__ if "deserialize" in vars(cls))
        in_steps = "decrypt" in vars(cls)
        self._decrypt = serializer.decrypt if in_steps else bytes
        self._load = serializer.from_bytes if in_steps else serializer.deserialize

    def read(self, data: bytes) -> Kind:
        """Return the letter in these bytes.

        Raises:
            Exception: No message of this layer: whatever its serializer raises for that.
        """
        body = self._decrypt(data)
        message = self._load(body)
        if not isinstance(message, dict):
            raise TypeError(f"it holds a {type(message).__name__}, not a dict")
        return self._decoded(body, self._load, message)
