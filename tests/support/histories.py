"""A group that keeps a history, and its members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.messages import Message, within

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = "chat.1"
HISTORY = {"history": {"chat.*": {"size": 100, "ttl": 60}}, "on_gap": "chat.gap"}


async def follow(layer: Any, **options: Any) -> tuple[str, Any]:
    """Return a new channel that is a member of the group, and what `group_add` returned."""
    channel = await within(layer.new_channel())
    return channel, await within(layer.group_add(GROUP, channel, **options))


async def send(layer: Any, messages: Sequence[Message]) -> None:
    """Send messages to the group, one after the other."""
    for message in messages:
        await within(layer.group_send(GROUP, message))


def plain(messages: Sequence[Message]) -> list[Message]:
    """Return messages without their positions, which each has to have."""
    return [
        {key: value for key, value in message.items() if key != "__asgi_position__"}
        for message in messages
        if message["__asgi_position__"]
    ]
