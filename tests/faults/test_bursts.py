"""Bursts far above every capacity reach a consumer that keeps taking: nothing is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer

from support.default_layer import default_layer
from support.messages import cancel, joined, numbered, take_numbers
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

IN_FLIGHT = 50
DEADLINE = 50


class Reader(AsyncConsumer):  # type: ignore[misc]
    """A consumer of Channels that notes the numbers of its group's messages."""

    async def note(self, message: dict[str, Any]) -> None:
        """Note a number."""
        self.scope["numbers"].append(message["number"])

    async def join(self, _event: dict[str, Any]) -> None:
        """Become a member."""
        await self.channel_layer.group_add("room", self.channel_name)
        self.scope["joined"].set()


async def send_in_flight(layer: Any, messages: list[dict[str, Any]]) -> None:
    """Send as a busy server does: many at once, and never all."""
    left = iter(messages)

    async def send() -> None:
        for message in left:
            await layer.group_send("room", message)

    await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))


def send_one_by_one(layer: Any, messages: list[dict[str, Any]]) -> None:
    """Send from synchronous code."""
    for message in messages:
        async_to_sync(layer.group_send)("room", message)


# Each pair of a sender and a taker; and many more messages than any capacity.
@pytest.mark.parametrize(
    ("sender", "kind", "count"),
    [
        ("asynchronous", "loop", 1_200),
        ("asynchronous", "loop", 12_000),
        ("asynchronous", "consumer", 3_000),
        ("synchronous", "loop", 2_000),
        ("synchronous", "consumer", 1_200),
    ],
)
async def test_burst(make_layer: Callable[..., Any], count: int, kind: str, sender: str) -> None:
    """Whatever the number, who sends and who takes."""
    reading, sending = make_layer(), make_layer()
    messages: list[dict[str, Any]] = [{**one, "type": "note"} for one in numbered(count)]
    numbers: list[int] = []
    if kind == "loop":
        channel = await joined(reading, "room")

        async def take_all() -> None:
            numbers.extend(await take_numbers(reading, channel, count))

        task = asyncio.create_task(take_all())
    else:
        scope = {"type": "reader", "numbers": numbers, "joined": asyncio.Event()}
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        events.put_nowait({"type": "join"})
        with default_layer(reading):
            task = asyncio.create_task(Reader.as_asgi()(scope, events.get, events.put))
            await scope["joined"].wait()  # type: ignore[attr-defined]
    if sender == "asynchronous":
        flood = asyncio.to_thread(asyncio.run, send_in_flight(sending, messages))
    else:
        flood = asyncio.to_thread(send_one_by_one, sending, messages)
    await flood
    await eventually(lambda: len(numbers) == count, timeout=DEADLINE)
    assert sorted(numbers) == list(range(count))
    await cancel(task)
