"""Projects whose tests freeze the time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from freezegun import freeze_time

from support.messages import numbered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

    from embedded_server import EmbeddedServer

    Freeze = Callable[[datetime], AbstractContextManager[Any]]

# Turns of the event loop in which a message arrives: a frozen loop can't wait for seconds.
TURNS = 100_000
DAY = timedelta(days=1)


@pytest.fixture(
    params=[
        freeze_time,
        partial(freeze_time, real_asyncio=True),
        partial(time_machine.travel, tick=False),
    ],
    ids=["freezegun", "freezegun real_asyncio", "time-machine"],
)
def freeze(request: pytest.FixtureRequest) -> Freeze:
    """Return what freezes the time."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def layer(own_server: EmbeddedServer, layer_class: type[Any]) -> AsyncIterator[Any]:
    """Return a layer."""
    layer = layer_class(hosts=[own_server.url])
    yield layer
    await layer.close_pools()


async def within_turns(task: asyncio.Task[Any]) -> Any:
    """Return the result of a task that ends soon."""
    for _ in range(TURNS):
        if task.done():
            return task.result()
        await asyncio.sleep(0)
    raise TimeoutError


async def check(layer: Any, channel: str) -> None:
    """Send to a channel that waits, and to one that does not yet."""
    waiting, early = numbered(2)
    receiver = asyncio.ensure_future(layer.receive(channel))
    for _ in range(100):
        await asyncio.sleep(0)
    await layer.group_send("room", waiting)
    assert await within_turns(receiver) == waiting
    await layer.send(channel, early)
    assert await within_turns(asyncio.ensure_future(layer.receive(channel))) == early


@pytest.mark.parametrize("offset", [0 * DAY, DAY, -DAY], ids=["now", "tomorrow", "yesterday"])
async def test_messages_arrive(layer: Any, freeze: Freeze, offset: timedelta) -> None:
    """Before, during and after the freeze, for members from each of these."""
    channels = [await layer.new_channel()]
    await layer.group_add("room", channels[0])
    await check(layer, channels[0])
    with freeze(datetime.now(timezone.utc) + offset):
        await check(layer, channels[0])
        channels.append(await layer.new_channel())
        await layer.group_add("room", channels[1])
        await check(layer, channels[1])
    for channel in channels:
        assert await within_turns(asyncio.ensure_future(layer.receive(channel)))
        await check(layer, channel)


async def test_time_moves_while_a_consumer_waits(layer: Any, freeze: Freeze) -> None:
    """It waits on, and gets what is sent then."""
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    now = datetime.now(timezone.utc)
    with freeze(now) as clock:
        first, second = numbered(2)
        for message in (first, second):
            receiver = asyncio.ensure_future(layer.receive(channel))
            for _ in range(100):
                await asyncio.sleep(0)
            clock.move_to(now + timedelta(seconds=30))
            for _ in range(100):
                await asyncio.sleep(0)
            await layer.group_send("room", message)
            assert await within_turns(receiver) == message
