"""Reads what stands in a message key: whom a message names, and a copy of it for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TO = "__asgi_channel__"


class Letter:
    """A message for one or more channels, decoded anew for each, so that none sees another's."""

    __slots__ = ("_body", "_first", "_load", "names")

    def __init__(
        self, body: bytes, load: Callable[[bytes], dict[str, Any]], message: dict[str, Any]
    ) -> None:
        self._body = body
        self._load = load
        to = message.pop(TO, [])
        # The channels it is for; none when it stood in a general channel's key.
        self.names: list[str] = [to] if isinstance(to, str) else to
        if not isinstance(to, (str, list)) or not all(isinstance(name, str) for name in self.names):
            raise ValueError("it names no channel")
        self._first = [message]

    def open(self) -> dict[str, Any]:
        """Return the message, as an object of its own."""
        try:
            # The first needs no decoding; pop is atomic, also between threads.
            return self._first.pop()
        except IndexError:
            message = self._load(self._body)
            message.pop(TO, None)
            return message


class Reader:
    """Opens letters with the serializer of a layer."""

    def __init__(self, serializer: Any) -> None:
        # A registered serializer may know nothing but to deserialize the whole.
        self._unseal = getattr(serializer, "unseal", bytes)
        whole = self._unseal is bytes
        self._load = serializer.deserialize if whole else serializer.from_bytes

    def read(self, data: bytes) -> Letter:
        """Return the letter in these bytes.

        Raises:
            Exception: No message of this layer: whatever its serializer raises for that.
        """
        body = self._unseal(data)
        message = self._load(body)
        if not isinstance(message, dict):
            raise TypeError(f"it holds a {type(message).__name__}, not a dict")
        return Letter(body, self._load, message)
