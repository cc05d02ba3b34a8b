"""What stands in a message key: a message, and the channels that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._shared.messages.serializers import DecodedMessage

if TYPE_CHECKING:
    from collections.abc import Callable

TO = "__asgi_channel__"


class Envelope(DecodedMessage):
    """A message that names the channels that it is for."""

    __slots__ = ("names",)

    def __init__(
        self, body: bytes, load: Callable[[bytes], dict[str, Any]], message: dict[str, Any]
    ) -> None:
        to = message.pop(TO, [])
        # Empty in a general channel's key, unless messages are encrypted.
        self.names: list[str]
        if isinstance(to, str):
            self.names = [to]
        elif isinstance(to, list) and all(isinstance(name, str) for name in to):
            self.names = to
        else:
            raise ValueError("it names no channel")
        super().__init__(body, load, message)

    def _decode(self) -> dict[str, Any]:
        message = super()._decode()
        message.pop(TO, None)
        return message
