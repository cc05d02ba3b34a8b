"""Short-lived consumers: each function is one visit, and one way to end it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from benchmarks.soak import diary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from channels.layers import BaseChannelLayer

    from benchmarks.soak.diary import Diary

ROOMS = 20
# Seconds that a visitor waits for its own message. It goes without it then.
PATIENCE = 10.0


@dataclass
class Visit:
    """A consumer's stay.

    Attributes:
        layer: The layer that is soaked.
        notes: The worker's diary.
        keeps: Whether the layer keeps messages for who does not listen just now.
    """

    layer: BaseChannelLayer
    notes: Diary
    keeps: bool

    async def arrive(self, *groups: str) -> str:
        """Return a new channel that is in the groups."""
        channel: str = await self.layer.new_channel()
        joining = [self.layer.group_add(group, channel) for group in groups]
        for error in await asyncio.gather(*joining, return_exceptions=True):
            if isinstance(error, BaseException):
                await self.cut(channel)
                raise error
        return channel

    async def cut(self, channel: str) -> None:
        """End a channel as Channels does, which listens from the start: cancel its `receive`."""
        async with reading(self, channel):
            await asyncio.sleep(0)

    async def send(self, channel: str, audience: str) -> str:
        """Send a message, and return its id."""
        message, at = self.notes.message(), diary.now()
        await self.layer.send(channel, message)
        self.notes.sent(message, at, audience)
        return str(message["id"])

    async def listen(self, channel: str, until: str = "") -> None:
        """Receive endlessly, or until one message has arrived."""
        message: dict[str, Any] = {"id": None}
        while message["id"] is None or message["id"] != until:
            message = await self.layer.receive(channel)
            self.notes.received(message, channel)

    async def expect(self, channel: str) -> None:
        """Send a message to a channel with intermittent listeners; return when it has arrived."""
        expected = await self.send(channel, diary.ONE)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.listen(channel, expected), PATIENCE)


@contextlib.asynccontextmanager
async def reading(visit: Visit, channel: str) -> AsyncIterator[None]:
    """Receive in a task, which is cancelled in mid-receive at the end."""
    task = asyncio.create_task(visit.listen(channel))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def room() -> str:
    """Return one of a few groups: names are remembered, and that is no leak."""
    return f"room-{random.randrange(ROOMS)}"


async def polite(visit: Visit) -> None:
    """Join, hear, be heard, leave the group, go."""
    group = room()
    channel = await visit.arrive(group)
    await visit.expect(channel)
    async with reading(visit, channel):
        message, at = visit.notes.message(), diary.now()
        await visit.layer.group_send(group, message)
        visit.notes.sent(message, at, diary.ANY)
        await asyncio.sleep(random.uniform(0.0, 0.2))
        await visit.layer.group_discard(group, channel)


async def rude(visit: Visit) -> None:
    """Join two groups, receive, and end without leaving, as closed browsers do."""
    channel = await visit.arrive(room(), room())
    await visit.expect(channel)
    async with reading(visit, channel):
        await asyncio.sleep(random.uniform(0.0, 0.2))


async def restless(visit: Visit) -> None:
    """Begin to receive again and again, and be cancelled each time.

    Where messages are kept, none may get lost by that.
    """
    channel = await visit.arrive()
    audience = diary.ONE if visit.keeps else diary.ANY
    expected = {await visit.send(channel, audience) for _ in range(3)}
    for _ in range(30):
        task = asyncio.create_task(visit.layer.receive(channel))
        await asyncio.wait([task], timeout=random.uniform(0.0, 0.01))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            message = task.result()
            visit.notes.received(message, channel)
            expected.discard(message["id"])
    while expected and visit.keeps:
        message = await asyncio.wait_for(visit.layer.receive(channel), PATIENCE)
        visit.notes.received(message, channel)
        expected.discard(message["id"])
    await visit.cut(channel)


async def interrupted(visit: Visit) -> None:
    """End between two receives, without leaving.

    So does a consumer of Channels whose handler fails, or that ends just as a message has come.
    """
    channel = await visit.arrive(room())
    await visit.expect(channel)


async def hasty(visit: Visit) -> None:
    """Go while still joining."""
    channel = await visit.arrive()
    joining = asyncio.create_task(visit.layer.group_add(room(), channel))
    await asyncio.sleep(random.choice([0.0, 0.0005, 0.002]))
    joining.cancel()
    await asyncio.wait([joining])
    await visit.cut(channel)


async def asking(visit: Visit) -> None:
    """Wait for one answer on a general channel of its own, whose name is not used again."""
    channel = f"answer-{visit.notes.message()['id']}"
    if visit.keeps:
        await visit.expect(channel)
        return
    async with reading(visit, channel):
        await asyncio.sleep(0.05)
        await visit.send(channel, diary.ANY)
        await asyncio.sleep(0.05)


# Answers are rare: each holds a connection of its own for half a minute.
KINDS = {polite: 35, rude: 25, restless: 15, hasty: 13, interrupted: 10, asking: 2}


async def any_visit(visit: Visit) -> None:
    """Make one of the stays. The server may be away meanwhile."""
    try:
        await random.choices(list(KINDS), list(KINDS.values()))[0](visit)
    except (RedisError, OSError, asyncio.TimeoutError):
        visit.notes.refused += 1
