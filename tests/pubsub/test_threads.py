"""Two threads in the same part of a layer at the same time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from channels_redis_pubsub._shared.history.outlet import GroupOutlet
from support.histories import GROUP, HISTORY, follow, plain, send
from support.loop_thread import LoopThread
from support.messages import DEADLINE, numbered, take, within
from support.pubsub_layers import Layers, inside, subscribed, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pytest

    from channels_redis_pubsub.loop_client import LoopClient
    from embedded_server import EmbeddedServer


async def test_a_message_arrives_while_another_thread_joins(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither thread waits for a lock of the other, and both channels get their messages."""
    layer = layers(**HISTORY)
    member, _ = await follow(layer)
    channel = await within(layer.new_channel())
    [client] = inside(layer)._loops.values()
    lock, deliver = client.hub.lock, GroupOutlet.put
    joins: list[Future[Any]] = []
    deadlocks: list[object] = []

    def until_taken() -> None:
        while lock.acquire(blocking=False):
            lock.release()
            time.sleep(0.001)

    def deliver_meanwhile(outlet: GroupOutlet, *args: Any) -> None:
        monkeypatch.setattr(GroupOutlet, "put", deliver)
        joins.append(other.start(layer.group_add(GROUP, channel)))
        # Either this thread has the lock, or the other one, which then goes as far as it can.
        probe = threading.Thread(target=until_taken)
        probe.start()
        probe.join(DEADLINE)
        if lock.acquire(timeout=2):
            lock.release()
            deliver(outlet, *args)
        else:
            deadlocks.append(args)

    monkeypatch.setattr(GroupOutlet, "put", deliver_meanwhile)
    messages = numbered(2)
    with LoopThread() as other:
        await send(layer, messages[:1])
        [join] = await eventually(lambda: joins)
        assert not deadlocks
        await within(asyncio.wrap_future(join))
        await other.run(layer.close_pools())
    await send(layer, messages[1:])
    assert plain([await take(layer, member) for _ in messages]) == messages
    assert plain([await take(layer, channel)]) == messages[1:]


async def test_a_message_arrives_while_another_thread_moves_a_channel(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel goes on from where it was when it left its loop, or gets the message there."""
    layer, sender = layers(**HISTORY), layers(**HISTORY)
    closing = asyncio.Event()

    async def stay() -> None:
        while not closing.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await closing.wait()

    async def stay_open() -> None:
        layer.spawn(stay())

    with LoopThread() as other, LoopThread() as third:
        channel, _ = await other.run(follow(layer))
        await other.run(follow(layer))
        await other.run(stay_open())
        [client] = inside(layer)._loops.values()
        [follower] = client.followers._followers.values()
        position, close = follower.position, client.hub.close
        lock: Any = client.hub.lock

        def close_amid_messages(name: str) -> set[bytes]:
            topics = close(name)
            third.start(send(sender, numbered(1))).result(DEADLINE)
            deadline = time.monotonic() + DEADLINE
            # With the lock, this thread has more to do before the message may be delivered.
            while follower.position == position and not lock._is_owned():
                assert time.monotonic() < deadline
                time.sleep(0.001)
            return topics

        monkeypatch.setattr(client.hub, "close", close_amid_messages)
        ending = other.start(layer.close_pools())
        await eventually(lambda: client.ended)
        try:
            assert plain([await take(layer, channel)]) == numbered(1)
        finally:
            other.loop.call_soon_threadsafe(closing.set)
        await within(asyncio.wrap_future(ending))
        await third.run(sender.close_pools())


async def test_two_threads_open_a_channel(
    own_server: EmbeddedServer, own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two loops that first receive from a channel at the same time get each message once."""
    layer = own_layers()
    broker = inside(layer)
    make, both = broker._loops._make, threading.Barrier(2, timeout=DEADLINE)

    def make_with_the_other() -> LoopClient:
        both.wait()
        return make()

    monkeypatch.setattr(broker._loops, "_make", make_with_the_other)
    messages = numbered(2)
    with LoopThread() as one, LoopThread() as another:
        receiving = [loop.start(layer.receive("chat")) for loop in (one, another)]
        await eventually(lambda: broker._mailboxes.waiting("chat") == 2)
        await eventually(lambda: subscribed(own_server))
        with own_server.client() as client:
            assert client.pubsub_numsub("chat") == [(b"chat", 1)]
        for message in messages:
            await one.run(layer.send("chat", message))
        received = [await within(asyncio.wrap_future(call)) for call in receiving]
        assert sorted(received, key=messages.index) == messages
        broker.close("chat")
        await eventually(lambda: not subscribed(own_server))
        for loop in (one, another):
            await loop.run(layer.close_pools())


async def test_a_channel_joins_while_another_thread_moves_it(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The join is one of the loop that has the channel by then."""
    layer = own_layers()
    broker = inside(layer)
    make, here = broker._loops._make, threading.get_ident()
    joining = threading.Event()

    def make_in_turn() -> LoopClient:
        if threading.get_ident() != here:
            joining.wait(DEADLINE)
        else:
            joining.set()
            deadline = time.monotonic() + DEADLINE
            while broker._clients[channel] is home and time.monotonic() < deadline:
                time.sleep(0.001)
        return make()

    with LoopThread() as another, LoopThread() as home_loop:
        channel = await home_loop.run(layer.new_channel())
        home = broker._clients[channel]
        receiving = another.start(layer.receive(channel))
        await eventually(lambda: broker._mailboxes.waiting(channel))
        monkeypatch.setattr(broker._loops, "_make", make_in_turn)
        home_loop.end()
        await within(layer.group_add("room", channel))
        assert broker._clients[channel].loop is another.loop
        await within(layer.group_send("room", {"type": "hello"}))
        assert await within(asyncio.wrap_future(receiving)) == {"type": "hello"}
        await another.run(layer.close_pools())


async def test_a_channel_joins_while_another_thread_is_amid_moving_it(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread finds the channel in its new loop before it is a member of anything there."""
    layer = layers()
    broker = inside(layer)
    joins: list[Future[Any]] = []
    with LoopThread() as third, LoopThread() as home_loop:
        channel = await home_loop.run(layer.new_channel())
        hub = broker._clients[channel].hub
        close = hub.close

        def close_amid_joins(name: str) -> set[bytes]:
            joins.append(third.start(layer.group_add("room", channel)))
            # Until then that thread has found the new loop, or waits for this one.
            concurrent.futures.wait([third.start(asyncio.sleep(0))], timeout=0.5)
            return close(name)

        monkeypatch.setattr(hub, "close", close_amid_joins)
        receiver = await waiting(layer, channel)
        home_loop.end()
        [join] = await eventually(lambda: joins)
        await within(asyncio.wrap_future(join))
        await within(layer.group_send("room", {"type": "hello"}))
        assert await within(receiver) == {"type": "hello"}
        await third.run(layer.close_pools())
