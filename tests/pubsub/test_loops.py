"""Event loops, threads and forks: one layer serves them all, and closes with them."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from support.loop_thread import LoopThread
from support.messages import Message, cancel, joined, numbered, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    connections,
    nothing_else,
    subscribed,
    waits,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

HELLO = {"type": "hello"}


async def test_each_loop_listens_to_a_name_of_the_users_choice(layers: Layers) -> None:
    """As two processes do: each gets every message."""
    layer, sender = layers(), layers()
    with LoopThread() as other:
        there = other.start(layer.receive("jobs"))
        await eventually(lambda: waits(layer, "jobs"))
        here = asyncio.create_task(layer.receive("jobs"))
        await eventually(lambda: waits(layer, "jobs") == 2)
        await within(layer.group_add("room", "jobs"))
        await within(sender.send("jobs", HELLO))
        for receiving in (here, asyncio.wrap_future(there)):
            assert await within(receiving) == HELLO


async def test_another_thread_ends_memberships(layers: Layers) -> None:
    """`group_discard` and `flush` also work for channels of a loop that runs in another thread."""
    layer = layers()
    with LoopThread() as other:
        channel = await other.run(joined(layer, "room", "other"))
        with pytest.raises(RuntimeError, match="another event loop"):
            await within(layer.group_add("third", channel))
        await within(layer.group_discard("room", channel))
        await other.run(layer.group_send("room", {"type": "unheard"}))
        await other.run(layer.group_send("other", HELLO))
        assert await other.run(layer.receive(channel)) == HELLO
        await within(layer.flush())
        await other.run(layer.group_send("other", {"type": "unheard"}))
        await other.run(nothing_else(layer, channel))


def test_channel_is_told_that_its_loop_has_ended(own_server: EmbeddedServer) -> None:
    """To a channel, a change of loops is an outage, with a beginning and an end."""
    layer = RedisPubSubChannelLayer(hosts=[own_server.url], **NOTICES)  # type: ignore[arg-type]
    sender = RedisPubSubChannelLayer(hosts=[own_server.url])
    channel = asyncio.run(joined(layer, "room"))

    async def go_on() -> None:
        assert await take_many(layer, channel, 2) == [LOST, BACK]
        await within(sender.group_send("room", HELLO))
        assert await take(layer, channel) == HELLO

    asyncio.run(go_on())


KEEPING = {"history": {"chat.*": {}}, "on_gap": "chat.gap"}


@pytest.mark.parametrize("without_cleanup", [False, True])
async def test_history_outlives_the_loop(layers: Layers, *, without_cleanup: bool) -> None:
    """A channel gets what was sent to its group until it is subscribed to again."""
    layer, sender = layers(**KEEPING), layers(**KEEPING)
    with LoopThread(without_cleanup=without_cleanup) as other:
        channel = await other.run(layer.new_channel())
        await other.run(layer.group_add("chat.1", channel))
    for kind in ("while", "after"):
        await within(sender.group_send("chat.1", {"type": kind}))
    assert [one["type"] for one in await take_many(layer, channel, 2)] == ["while", "after"]
    await nothing_else(layer, channel)


@pytest.mark.parametrize("bare", [False, True], ids=["asyncio.run", "closed without cleanup"])
def test_loop_that_ends_leaves_nothing(own_server: EmbeddedServer, *, bare: bool) -> None:
    """Its consumers and connections end with it, at the latest when the layer is used again."""
    layer = RedisPubSubChannelLayer(hosts=[own_server.url])

    async def use(group: str) -> None:
        channel = await joined(layer, group)
        await layer.group_send(group, HELLO)
        assert await take(layer, channel) == HELLO
        needed = {channel, f"asgi__group__{group}"}
        await eventually(lambda: subscribed(own_server) == needed)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if bare:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(use("room"))
            loop.close()
        else:
            asyncio.run(use("room"))
        asyncio.run(use("another"))
    asyncio.run(eventually(lambda: not connections(own_server)))


def test_channel_of_a_loop_that_does_not_run(redis_server: EmbeddedServer, prefix: str) -> None:
    """It may run again, so the channel stays there: `group_add` and `receive` say so."""
    layer = RedisPubSubChannelLayer(hosts=[redis_server.url], prefix=prefix)
    stopped, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    channel = stopped.run_until_complete(within(layer.new_channel()))
    with pytest.raises(RuntimeError, match="another event loop, which is not closed"):
        other.run_until_complete(within(layer.group_add("room", channel)))
    # When it runs again, all is well.
    stopped.run_until_complete(within(layer.group_add("room", channel)))
    other.run_until_complete(within(layer.group_send("room", HELLO)))
    assert stopped.run_until_complete(take(layer, channel)) == HELLO
    for loop in (stopped, other):
        loop.run_until_complete(within(layer.close_pools()))
        loop.close()


async def test_close_pools_leaves_consumers_alone(layers: Layers) -> None:
    """Code that closes after each send, as some libraries do, costs consumers no message."""
    layer, received = layers(), asyncio.Queue[Message]()

    async def consumer() -> None:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        ready.set()
        while True:
            received.put_nowait(await asyncio.create_task(layer.receive(channel)))

    for _ in range(2):
        ready = asyncio.Event()
        task = asyncio.create_task(consumer())
        await within(ready.wait())
        for message in numbered(5):
            await within(layer.group_send("room", message))
            await layer.close_pools()
            # At once, while the handler runs, and while it waits for the next message.
            await layer.close_pools()
            assert await within(received.get()) == message
            await layer.close_pools()
        await cancel(task)


async def test_channel_used_after_close_pools(layers: Layers) -> None:
    """Its consumer is told that it may have missed something, and is still in its group."""
    layer, sender = layers(**NOTICES), layers()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.close_pools()
    await within(sender.group_send("room", {"type": "missed"}))
    assert await take_many(layer, channel, 2) == [LOST, BACK]
    await within(sender.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO
