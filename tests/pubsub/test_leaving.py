"""A consumer that ends leaves nothing behind: no mailbox, group, subscription or task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from channels_redis_pubsub import process
from pubsub_tools import (
    Layers,
    cancel,
    inside,
    joined,
    nothing_else,
    subscribed,
    take,
    take_many,
    waiting,
    within,
)
from servers.waiting import eventually

if TYPE_CHECKING:
    import pytest

    from channels_redis_pubsub import RedisPubSubChannelLayer
    from embedded_server import EmbeddedServer


async def test_cancelled_consumers_leave_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A thousand consumers that joined and were cancelled, with no `group_discard`: all is gone."""
    layer = own_layers()
    stays = await joined(layer, "everyone")
    tasks_before = len(asyncio.all_tasks())
    for _ in range(5):
        channels = await within(
            asyncio.gather(*(joined(layer, "everyone", f"room-{n}") for n in range(200)))
        )
        receivers = [await waiting(layer, channel) for channel in channels]
        assert len(subscribed(own_server)) == 402
        await cancel(*receivers)
        await eventually(lambda: len(subscribed(own_server)) == 2)
        assert held(layer) == {"channels": 1, "topics": 2, "mailboxes": 0}
    assert len(asyncio.all_tasks()) == tasks_before
    await within(layer.group_send("everyone", {"type": "hello"}))
    assert await take(layer, stays) == {"type": "hello"}


async def test_cancelled_consumer_loses_its_unread_messages(layers: Layers) -> None:
    """What it did not read is gone, and so are its groups if the channel is received again."""
    layer = layers()
    channel = await joined(layer, "room")
    receiver = await waiting(layer, channel)
    await cancel(receiver)
    again = await waiting(layer, channel)
    await within(layer.group_send("room", {"type": "unheard"}))
    await within(layer.send(channel, {"type": "hello"}))
    assert await within(again) == {"type": "hello"}
    await nothing_else(layer, channel)


async def test_consumer_cancelled_as_a_message_arrives(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Cancelled in the very turn in which it is woken, it leaves nothing either."""
    layer = own_layers()
    channel = await joined(layer, "room")
    receiver = await waiting(layer, channel)
    inside(layer)._mailboxes.put([channel], NoItem(), float("inf"))
    inside(layer)._mailboxes.put([channel], NoItem(), float("inf"))
    await cancel(receiver)
    await eventually(lambda: not subscribed(own_server))
    assert held(layer) == {"channels": 0, "topics": 0, "mailboxes": 0}


async def test_channel_stays_while_another_call_waits(layers: Layers) -> None:
    """Of two calls that wait for one channel one is cancelled: the channel and its groups stay."""
    layer = layers()
    channel = await joined(layer, "room")
    first, second = await waiting(layer, channel), asyncio.create_task(layer.receive(channel))
    await eventually(lambda: inside(layer)._mailboxes.waiting(channel) == 2)
    await cancel(first)
    await within(layers().group_send("room", {"type": "hello"}))
    assert await within(second) == {"type": "hello"}


async def test_cancelled_first_receive_leaves_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A `receive` of a general channel, cancelled at any moment of its start."""
    layer = own_layers()
    await layer.new_channel()
    for turns in range(12):
        receiver = asyncio.create_task(layer.receive("jobs"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await cancel(receiver)
        assert held(layer) == {"channels": 1, "topics": 1, "mailboxes": 0}
    await eventually(lambda: len(subscribed(own_server)) == 1)


async def test_cancelled_new_channel_leaves_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A `new_channel` or `group_add` that is cancelled while it waits for the server."""
    layer = own_layers()
    stays = await layer.new_channel()
    for turns in range(8):
        making = asyncio.create_task(layer.new_channel())
        joining = asyncio.create_task(layer.group_add("room", stays))
        for _ in range(turns):
            await asyncio.sleep(0)
        if making.done() or joining.done():
            break
        await cancel(making, joining)
        assert held(layer) == {"channels": 1, "topics": 1, "mailboxes": 0}
    await eventually(lambda: len(subscribed(own_server)) <= 3)


async def test_last_member_ends_the_subscription(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """The server hears of a group's end when the process's last member has left, not before."""
    layer = own_layers()
    first, second = await joined(layer, "room"), await joined(layer, "room")
    topic = f"{layer.prefix}__group__room"
    await within(layer.group_discard("room", first))
    await within(own_layers().group_send("room", {"type": "hello"}))
    assert await take(layer, second) == {"type": "hello"}
    assert topic in subscribed(own_server)
    await within(layer.group_discard("room", second))
    await eventually(lambda: topic not in subscribed(own_server))


def held(layer: RedisPubSubChannelLayer) -> dict[str, int]:
    """Return how much a layer holds in this process."""
    process = inside(layer)
    (home,) = process._homes.values()
    return {
        "channels": len(home.audience.channels()),
        "topics": len(home.audience.topics()),
        "mailboxes": len(process._mailboxes),
    }


class NoItem:
    """An item of a mailbox that nobody may take."""

    def open(self) -> dict[str, object]:
        """Fail."""
        raise AssertionError


async def consumer(layer: RedisPubSubChannelLayer, messages: int) -> str:
    """Be one of Channels: receive each message in a task of its own, and end between two."""
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    for _ in range(messages):
        await asyncio.create_task(layer.receive(channel))
    return channel


async def test_consumers_that_end_between_two_receives_leave_nothing(
    own_server: EmbeddedServer, own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their handlers failed, or their browsers left as a message came: no receive is cancelled."""
    monkeypatch.setattr(process, "PATIENCE", 0.05)
    layer = own_layers()
    consumers = [asyncio.create_task(consumer(layer, 1)) for _ in range(20)]
    await eventually(lambda: len(inside(layer)._mailboxes) == 20)
    assert held(layer) == {"channels": 20, "topics": 21, "mailboxes": 20}
    await within(layer.group_send("room", {"type": "hello"}))
    await within(asyncio.gather(*consumers))
    await eventually(lambda: held(layer) == {"channels": 0, "topics": 0, "mailboxes": 0})
    await eventually(lambda: not subscribed(own_server))
    assert not inside(layer)._orphans
    assert not inside(layer).owners.unheard


async def test_channel_whose_maker_has_ended_stays_while_somebody_receives(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever received first; and so does one on which nobody has received yet."""
    monkeypatch.setattr(process, "PATIENCE", 0.5)
    layer = layers()
    unheard = await within(asyncio.create_task(consumer(layer, 0)))
    first = asyncio.create_task(consumer(layer, 1))
    await eventually(lambda: held(layer)["mailboxes"] == 1)
    await within(layer.group_send("room", {"type": "hello"}))
    passed_on = await within(first)
    receiving = await waiting(layer, passed_on)
    # Begun after the layer's own timer, which is as long, and so over after it.
    await asyncio.sleep(process.PATIENCE)
    await within(layer.group_send("room", {"type": "hello again"}))
    assert await within(receiving) == {"type": "hello again"}
    assert await take_many(layer, unheard, 2) == [{"type": "hello"}, {"type": "hello again"}]


async def test_channel_that_goes_while_it_joins_leaves_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Closed, or out of the group again, before the server has confirmed the subscription."""
    layer = own_layers()
    channel = await layer.new_channel()
    receiving = await waiting(layer, channel)
    joining = asyncio.create_task(layer.group_add("room", channel))
    await asyncio.sleep(0)
    await cancel(receiving)
    await within(joining)
    await eventually(lambda: not subscribed(own_server))
    stays = await layer.new_channel()
    joining = asyncio.create_task(layer.group_add("room", stays))
    await asyncio.sleep(0)
    await layer.group_discard("room", stays)
    await within(joining)
    await eventually(lambda: len(subscribed(own_server)) == 1)
