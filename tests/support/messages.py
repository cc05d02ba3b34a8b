"""Messages that can be told apart, and the receiving of them in time, whatever the layer."""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

Message: TypeAlias = dict[str, Any]
T = TypeVar("T")

# Seconds for what should take milliseconds; a loaded machine may need some.
DEADLINE = float(os.environ.get("CONFORMANCE_DEADLINE", "30"))


async def within(awaitable: Awaitable[T], seconds: float = DEADLINE) -> T:
    """Await something that has to happen, and fail the test when it does not.

    It runs in its own task, as `wait_for` does by itself only before Python 3.12.
    """
    return await asyncio.wait_for(asyncio.ensure_future(awaitable), seconds)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def numbered(count: int, start: int = 0) -> list[Message]:
    """Return messages that can be told apart."""
    return [{"type": "test.message", "number": number} for number in range(start, start + count)]


async def joined(layer: Any, *groups: str, **options: str) -> str:
    """Return a new channel that is a member of the groups; `options` are for `new_channel`."""
    channel: str = await within(layer.new_channel(**options))
    for group in groups:
        await within(layer.group_add(group, channel))
    return channel


async def consume(layer: Any, messages: int) -> str:
    """Consume as Channels does: join a group, receive each message in its own task, end."""
    channel = await joined(layer, "room")
    for _ in range(messages):
        await asyncio.create_task(layer.receive(channel))
    return channel


async def take(layer: Any, channel: str) -> Message:
    """Receive one message."""
    message: Message = await within(layer.receive(channel))
    return message


async def take_many(layer: Any, channel: str, count: int) -> list[Message]:
    """Receive as many messages, one after the other."""
    return [await take(layer, channel) for _ in range(count)]


async def take_numbers(layer: Any, channel: str, count: int) -> list[int]:
    """Receive as many messages, one after the other, and return their numbers."""
    return [message["number"] for message in await take_many(layer, channel, count)]


async def take_elsewhere(layer: Any) -> None:
    """Receive on a new channel, after which what began to receive before waits."""
    channel = await within(layer.new_channel())
    await within(layer.send(channel, {"type": "elsewhere"}))
    await take(layer, channel)


async def nothing_else(layer: Any, channel: str, sender: Any = None) -> None:
    """Check that nothing waits in a channel of one shard: the next is what is sent now."""
    marker = {"type": "marker", "token": secrets.token_hex(4)}
    await within((sender or layer).send(channel, marker))
    assert await take(layer, channel) == marker
