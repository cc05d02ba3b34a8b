"""Projects whose tests freeze the time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from freezegun import freeze_time

from support.messages import joined, numbered

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Freeze = Callable[[datetime], AbstractContextManager[Any]]

# Turns of the event loop in which a message arrives: a frozen loop can't wait for seconds.
TURNS = 100_000
DAY = timedelta(days=1)


FREEZERS: dict[str, Freeze] = {
    "freezegun": freeze_time,
    "freezegun real_asyncio": partial(freeze_time, real_asyncio=True),
    "time-machine": partial(time_machine.travel, tick=False),
}


async def turn() -> None:
    """Let the event loop turn some times."""
    for _ in range(100):
        await asyncio.sleep(0)


async def within_turns(task: asyncio.Task[Any]) -> Any:
    """Return the result of a task that ends soon."""
    for _ in range(TURNS):
        if task.done():
            return task.result()
        await asyncio.sleep(0)
    raise TimeoutError


async def check(layer: Any, channel: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Send to a channel that waits, and to one that does not yet."""
    waiting, early = numbered(2)
    receiver = asyncio.ensure_future(layer.receive(channel))
    await turn()
    meanwhile()
    await turn()
    await layer.group_send("room", waiting)
    assert await within_turns(receiver) == waiting
    await layer.send(channel, early)
    assert await within_turns(asyncio.ensure_future(layer.receive(channel))) == early


@pytest.mark.parametrize("freeze", FREEZERS.values(), ids=FREEZERS)
@pytest.mark.parametrize("offset", [0 * DAY, DAY, -DAY], ids=["now", "tomorrow", "yesterday"])
async def test_messages_arrive(
    make_layer: Callable[..., Any], freeze: Freeze, offset: timedelta
) -> None:
    """Before, during and after the freeze, for members from each of these, also if time moves."""
    layer = make_layer()
    channels = [await joined(layer, "room")]
    await check(layer, channels[0])
    moment = datetime.now(timezone.utc) + offset
    with freeze(moment) as clock:
        await check(layer, channels[0])
        channels.append(await layer.new_channel())
        await layer.group_add("room", channels[1])
        await check(layer, channels[1])
        for channel in channels:
            await within_turns(asyncio.ensure_future(layer.receive(channel)))
            moment += timedelta(seconds=30)
            await check(layer, channel, partial(clock.move_to, moment))
    for channel in channels:
        await within_turns(asyncio.ensure_future(layer.receive(channel)))
        await check(layer, channel)
