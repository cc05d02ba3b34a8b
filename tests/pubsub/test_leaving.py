"""A consumer that ends leaves nothing behind: no mailbox, group, subscription or task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.histories import GROUP, HISTORY
from support.messages import cancel, consume, joined, take, within
from support.pubsub_layers import Layers, inside, subscribed, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_pubsub import RedisPubSubChannelLayer
    from embedded_server import EmbeddedServer

pytestmark = pytest.mark.usefixtures("frequent_sweeps")


async def listen(layer: RedisPubSubChannelLayer, *groups: str) -> None:
    """Be a consumer: make a channel, join groups, and receive until cancelled."""
    channel = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    while True:
        await layer.receive(channel)


async def test_cancelled_consumers_leave_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A thousand consumers that joined and were cancelled, with no `group_discard`: all is gone."""
    layer = own_layers()
    stays = await joined(layer, "everyone")
    tasks_before = len(asyncio.all_tasks())
    for _ in range(5):
        consumers = [
            asyncio.create_task(listen(layer, "everyone", f"room-{n}")) for n in range(200)
        ]
        await eventually(lambda: waiting_calls(layer) == 200)
        assert len(subscribed(own_server)) == 402
        await cancel(*consumers)
        await eventually(lambda: len(subscribed(own_server)) == 2)
        assert held(layer) == {"channels": 1, "topics": 2, "mailboxes": 0}
    assert len(asyncio.all_tasks()) == tasks_before
    await within(layer.group_send("everyone", {"type": "hello"}))
    assert await take(layer, stays) == {"type": "hello"}


async def test_consumer_cancelled_as_a_message_arrives(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Cancelled in the very turn in which it is woken, it leaves nothing either."""
    layer = own_layers()
    consumer = asyncio.create_task(listen(layer, "room"))
    await eventually(lambda: waiting_calls(layer) == 1)
    [channel] = inside(layer).hub.channels()
    inside(layer).consumers.mailboxes.put([channel], NoItem())
    inside(layer).consumers.mailboxes.put([channel], NoItem())
    await cancel(consumer)
    await eventually(lambda: not subscribed(own_server))
    assert held(layer) == {"channels": 0, "topics": 0, "mailboxes": 0}


async def test_channel_ends_some_time_after_its_last_reader(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Made by one task and received from in others, it goes `channel_expiry` after the last."""
    layer = own_layers(channel_expiry=1)
    channel = await asyncio.create_task(joined(layer, "room"))
    for _ in range(2):
        await within(layer.group_send("room", {"type": "hello"}))
        assert await take(layer, channel) == {"type": "hello"}
    receiver = await waiting(layer, channel)
    await cancel(receiver)
    await eventually(lambda: not subscribed(own_server))
    assert held(layer) == {"channels": 0, "topics": 0, "mailboxes": 0}


async def test_channels_for_one_answer_each_leave_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A long-lived task that makes a channel for each answer."""
    layer = own_layers(channel_expiry=1)
    own = await layer.new_channel()
    for _ in range(20):
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "answer"})
        assert await layer.receive(channel) == {"type": "answer"}
    await layer.send(own, {"type": "hello"})
    assert await layer.receive(own) == {"type": "hello"}
    await eventually(lambda: subscribed(own_server) == {own})


async def test_channel_stays_while_another_call_waits(layers: Layers) -> None:
    """Of two calls that wait for one channel one is cancelled: the channel and its groups stay."""
    layer = layers()
    channel = await joined(layer, "room")
    first, second = await waiting(layer, channel), asyncio.create_task(layer.receive(channel))
    await eventually(lambda: inside(layer).consumers.mailboxes.waiting(channel) == 2)
    await cancel(first)
    await within(layers().group_send("room", {"type": "hello"}))
    assert await within(second) == {"type": "hello"}


async def test_cancelled_first_receive_leaves_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A `receive` of a general channel, cancelled at any moment of its start."""
    layer = own_layers(channel_expiry=1)
    await layer.new_channel()
    for turns in range(12):
        receiver = asyncio.create_task(layer.receive("jobs"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await cancel(receiver)
    await eventually(lambda: len(subscribed(own_server)) == 1)
    assert held(layer) == {"channels": 1, "topics": 1, "mailboxes": 0}


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
    """The subscription of a group ends when the process's last member has left, not before."""
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
    broker = inside(layer)
    return {
        "channels": len(broker.hub.channels()),
        "topics": len(broker.hub.topics()),
        "mailboxes": len(broker.consumers.mailboxes),
    }


def waiting_calls(layer: RedisPubSubChannelLayer) -> int:
    """Return how many calls of `receive` wait."""
    mailboxes = inside(layer).consumers.mailboxes
    return sum(mailboxes.waiting(channel) for channel in inside(layer).hub.channels())


class NoItem:
    """An item of a mailbox that must not be taken."""

    def copy(self) -> dict[str, object]:
        """Fail."""
        raise AssertionError


async def test_consumers_that_end_between_two_receives_leave_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Their handlers failed, or their browsers left as a message came: no receive is cancelled."""
    layer = own_layers(channel_expiry=1)
    consumers = [asyncio.create_task(consume(layer, 1)) for _ in range(20)]
    await eventually(lambda: waiting_calls(layer) == 20)
    assert held(layer) == {"channels": 20, "topics": 21, "mailboxes": 20}
    await within(layer.group_send("room", {"type": "hello"}))
    await within(asyncio.gather(*consumers))
    await eventually(lambda: held(layer) == {"channels": 0, "topics": 0, "mailboxes": 0})
    await eventually(lambda: not subscribed(own_server))


async def test_channel_whose_maker_has_ended_stays_while_it_has_a_reader(layers: Layers) -> None:
    """The first receiver does not matter; a channel without one yet stays as well."""
    layer = layers(channel_expiry=1)
    unheard = await within(asyncio.create_task(consume(layer, 0)))
    first = asyncio.create_task(consume(layer, 1))
    await eventually(lambda: waiting_calls(layer) == 1)
    await within(layer.group_send("room", {"type": "hello"}))
    passed_on = await within(first)
    receiving = await waiting(layer, passed_on)
    # One that has lost its reader goes meanwhile.
    left = await within(asyncio.create_task(layer.new_channel()))
    await within(layer.send(left, {"type": "goodbye"}))
    assert await within(asyncio.create_task(layer.receive(left))) == {"type": "goodbye"}
    await eventually(lambda: left not in inside(layer))
    await within(layer.group_send("room", {"type": "hello again"}))
    assert await within(receiving) == {"type": "hello again"}
    for message in ("hello", "hello again"):
        assert await take(layer, unheard) == {"type": message}


async def test_poll_loop_hears_everything(layers: Layers) -> None:
    """A loop that receives with a timeout, over and over, is a consumer like any other."""
    layer = layers(channel_expiry=1)
    received: list[int] = []

    async def poll() -> None:
        channel = await joined(layer, "room")
        ready.set_result(channel)
        while len(received) < 40:
            try:
                message = await asyncio.wait_for(layer.receive(channel), 0.01)
            except asyncio.TimeoutError:
                continue
            received.append(message["number"])

    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    polling = asyncio.create_task(poll())
    channel = await within(ready)
    for number in range(0, 40, 2):
        await asyncio.sleep(0.03)
        await within(layer.group_send("room", {"number": number}))
        await within(layer.send(channel, {"number": number + 1}))
    await within(polling)
    assert received == list(range(40))


async def test_channel_that_goes_while_it_joins_leaves_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Closed, or out of the group again, before the server has confirmed the subscription."""
    layer = own_layers()
    channel = await layer.new_channel()
    joining = asyncio.create_task(layer.group_add("room", channel))
    await asyncio.sleep(0)
    inside(layer).close(channel)
    await within(joining)
    await eventually(lambda: not subscribed(own_server))
    stays = await layer.new_channel()
    joining = asyncio.create_task(layer.group_add("room", stays))
    await asyncio.sleep(0)
    await layer.group_discard("room", stays)
    await within(joining)
    await eventually(lambda: len(subscribed(own_server)) == 1)


@pytest.mark.parametrize("options", [{}, HISTORY], ids=["plain", "history"])
async def test_call_that_the_garbage_collector_ends(layers: Layers, options: Any) -> None:
    """It undoes what it began, in the event loop, as a call that is cancelled does."""
    layer = layers(**options)
    channel = await layer.new_channel()
    joining = layer.group_add(GROUP, channel)
    joining.send(None)
    assert layer.statistics().groups == 1
    joining.close()
    await eventually(lambda: layer.statistics().groups == 0)
