"""Event loops, threads and forks: one layer serves them all, and closes with them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_pubsub.subscriber import Subscriber
from support.loop_thread import LoopThread
from support.messages import Message, cancel, joined, numbered, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    connections,
    inside,
    kill_subscriptions,
    nothing_else,
    subscribed,
    waiting,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from channels_redis_pubsub._shared.history.positions import Replay
    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy

HELLO = {"type": "hello"}


async def test_each_loop_hears_its_own_channels(layers: Layers) -> None:
    """Two loops in two threads receive on one layer, in one group: one copy for each member."""
    layer = layers()
    with LoopThread() as other:
        here = await joined(layer, "room")
        there = await other.run(joined(layer, "room"))
        for sender in (layer.group_send("room", HELLO), other.run(layer.group_send("room", HELLO))):
            await within(sender)
        assert await take_many(layer, here, 2) == [HELLO] * 2
        assert await other.run(take_many(layer, there, 2)) == [HELLO] * 2
        await nothing_else(layer, here)
        await other.run(nothing_else(layer, there))
        await other.run(layer.close_pools())


async def test_channel_of_another_loop_is_received_and_joins(layers: Layers) -> None:
    """A consumer may run in another loop than the one that its channel was made in."""
    layer = layers()
    with LoopThread() as other:
        channel = await other.run(layer.new_channel())
        await within(layer.group_add("room", channel))
        receiver = await waiting(layer, channel)
        await within(layer.group_send("room", HELLO))
        assert await within(receiver) == HELLO
        await within(layer.group_discard("room", channel))
        await within(layer.group_send("room", {"type": "unheard"}))
        await nothing_else(layer, channel)


KEEPING = {"history": {"chat.*": {}}, "on_gap": "chat.gap"}


async def test_histories_are_followed_in_each_loop(layers: Layers) -> None:
    """Channels of two loops resume and get what follows; also one that another loop adds."""
    layer = layers(**KEEPING)
    start = (await within(layer.group_history("chat.1"))).position
    await within(layer.group_send("chat.1", HELLO))
    with LoopThread() as other:
        here = await within(layer.new_channel())
        there = await other.run(layer.new_channel())
        for channel in (here, there):
            found = await within(layer.group_add("chat.1", channel, since=start))
            assert found is not None
            assert found.recovered
        await within(layer.group_send("chat.1", {"type": "next"}))
        for taking in (take_many(layer, here, 2), other.run(take_many(layer, there, 2))):
            assert [one["type"] for one in await within(taking)] == ["hello", "next"]
        await nothing_else(layer, here)
        await other.run(nothing_else(layer, there))
        await other.run(layer.close_pools())


async def test_history_moves_with_its_channel(layers: Layers) -> None:
    """A channel whose loop has ended gets what was sent until it is subscribed to again."""
    layer, sender = layers(**KEEPING), layers(**KEEPING)
    with LoopThread() as other:
        channel = await other.run(layer.new_channel())
        await other.run(layer.group_add("chat.1", channel))
        receiver = await waiting(layer, channel)
        await within(sender.group_send("chat.1", {"type": "before"}))
        assert (await within(receiver))["type"] == "before"
        receiver = await waiting(layer, channel)
        other.end()
        for kind in ("while", "after"):
            await within(sender.group_send("chat.1", {"type": kind}))
        assert (await within(receiver))["type"] == "while"
    assert (await take(layer, channel))["type"] == "after"
    await nothing_else(layer, channel)


async def test_history_moves_although_the_receive_is_cancelled(
    proxy: TcpProxy, own_layers: Layers
) -> None:
    """The next `receive` gets what was sent meanwhile, as it was not there to move the channel."""
    layer, sender = own_layers(hosts=[proxy.url], **KEEPING), own_layers(**KEEPING)
    with LoopThread() as other:
        channel = await other.run(layer.new_channel())
        await other.run(layer.group_add("chat.1", channel))
        receiver = await waiting(layer, channel)
        proxy.stall(new=True)
    [client] = await eventually(inside(layer)._loops.values)
    await eventually(lambda: client.followers)
    await within(sender.group_send("chat.1", {"type": "while"}))
    await cancel(receiver)
    proxy.resume()
    assert (await take(layer, channel))["type"] == "while"
    await within(sender.group_send("chat.1", {"type": "after"}))
    assert (await take(layer, channel))["type"] == "after"


async def test_history_moves_on_before_it_has_arrived(proxy: TcpProxy, own_layers: Layers) -> None:
    """The loop that a channel leaves has read nothing yet, but knows what the channel has."""
    layer, sender = own_layers(hosts=[proxy.url], **KEEPING), own_layers(**KEEPING)
    with LoopThread() as between:
        with LoopThread() as other:
            channel = await other.run(layer.new_channel())
            await other.run(layer.group_add("chat.1", channel))
            between.start(layer.receive(channel))
            await eventually(lambda: inside(layer)._mailboxes.waiting(channel))
            proxy.stall(new=True)
        [client] = await eventually(inside(layer)._loops.values)
        await eventually(lambda: client.followers)
        await within(sender.group_send("chat.1", {"type": "while"}))
        receiver = await waiting(layer, channel)
    proxy.resume()
    assert (await within(receiver))["type"] == "while"


async def test_history_that_can_not_move(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """The channel is told that messages may be missing, as after an outage, and stays a member."""
    layer = own_layers(**KEEPING)
    with LoopThread() as other:
        channel = await other.run(layer.new_channel())
        await other.run(layer.group_add("chat.1", channel))
        receiver = await waiting(layer, channel)
        with own_server.client() as client:
            client.rename("asgi$pubsub.position{asgi__group__chat.1}", "elsewhere")
            client.lpush("asgi$pubsub.position{asgi__group__chat.1}", "wrong")
    assert (await within(receiver))["type"] == "chat.gap"
    with own_server.client() as client:
        client.delete("asgi$pubsub.position{asgi__group__chat.1}")
    await within(layer.group_send("chat.1", HELLO))
    assert (await take(layer, channel))["type"] == "hello"


async def test_history_that_ends_before_the_moved_channel(
    proxy: TcpProxy, own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Only that channel is told: those that were in its new loop before have missed nothing."""
    layer, sender = own_layers(hosts=[proxy.url], **KEEPING), own_layers(**KEEPING)
    with LoopThread() as other:
        channel = await other.run(layer.new_channel())
        await other.run(layer.group_add("chat.1", channel))
        for connection in proxy.connections:
            connection.stall()
        member = await within(layer.new_channel())
        await within(layer.group_add("chat.1", member))
        receiver = await waiting(layer, channel)
        for kind in ("first", "second"):
            await within(sender.group_send("chat.1", {"type": kind}))
            assert (await take(layer, member))["type"] == kind
        with own_server.client() as client:
            client.xtrim("asgi$pubsub.history{asgi__group__chat.1}", maxlen=1, approximate=False)
    assert (await within(receiver))["type"] == "chat.gap"
    await within(sender.group_send("chat.1", {"type": "third"}))
    for each in (channel, member):
        assert (await take(layer, each))["type"] == "third"


async def test_channel_moves_while_it_joins(
    proxy: TcpProxy, own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The `group_add` goes on in the new loop, with all that it was asked for."""
    layer, sender = own_layers(hosts=[proxy.url], **KEEPING), own_layers(**KEEPING)
    start = await within(sender.group_add("chat.1", await within(sender.new_channel())))
    assert start is not None
    for number in range(2):
        await within(sender.group_send("chat.1", {"type": "before", "number": number}))
    with LoopThread() as other:
        channel = await other.run(layer.new_channel())
        receiver = await waiting(layer, channel)
        # Opens the command connections.
        await within(layer.group_add("chat.2", channel))
        await within(layer.send("another", HELLO))
        [client] = [each for each in inside(layer)._loops.values() if each.loop is other.loop]
        for connection in proxy.connections[1:]:  # the first is that of the subscriptions
            connection.stall()
        reading, read = asyncio.Event(), client.followers.read

        async def note_and_read(*arguments: Any) -> Replay:
            reading.set()
            return await read(*arguments)

        monkeypatch.setattr(client.followers, "read", note_and_read)
        joining = asyncio.create_task(layer.group_add("chat.1", channel, since=start.position))
        await within(reading.wait())
    await eventually(lambda: inside(layer)._clients[channel] is not client)
    proxy.resume()
    joined_at = await within(joining)
    assert joined_at is not None
    assert joined_at.recovered
    await within(sender.group_send("chat.1", {"type": "after"}))
    messages = [await within(receiver), *await take_many(layer, channel, 2)]
    assert [(each["type"], each.get("number")) for each in messages] == [
        ("before", 0),
        ("before", 1),
        ("after", None),
    ]


async def test_channel_moves_when_its_loop_ends(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A channel that another loop waits for moves there, with its groups."""
    layer = own_layers()
    with LoopThread() as other:
        moves = await other.run(joined(layer, "room"))
        unread = await other.run(joined(layer, "another"))
        receiver = await waiting(layer, moves)
    await eventually(lambda: {moves, "asgi__group__room"} == subscribed(own_server))
    await within(layer.group_send("room", HELLO))
    assert await within(receiver) == HELLO
    await within(layer.group_add("third", moves))
    # Another may still want this one: it moves when that joins or receives.
    await within(layer.group_add("room", unread))
    await within(layer.group_send("another", HELLO))
    assert await take(layer, unread) == HELLO


async def test_end_of_a_loop_wakes_no_one_else(layers: Layers) -> None:
    """A `receive` that is woken does not wait for an instant: its own loop might end just then."""
    layer = layers()
    channel = await within(layer.new_channel())
    receiver = await waiting(layer, channel)
    mailbox = inside(layer)._mailboxes.open(channel)
    [waiter] = mailbox._waiters
    with LoopThread() as other:
        await other.run(layer.new_channel())
    await within(layer.new_channel())
    assert not waiter.done()
    await cancel(receiver)


async def test_channel_moves_in_an_outage(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """It is told of the end in its new loop, as it was told of the beginning in the former one."""
    layer = own_layers(**NOTICES)
    with LoopThread() as other:
        channel = await other.run(joined(layer, "room"))
        receiver = await waiting(layer, channel)
        own_server.kill()
        assert await within(receiver) == LOST
        receiver = await waiting(layer, channel)
    own_server.start()
    assert await within(receiver) == BACK
    await within(layer.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO


async def test_moved_channel_loses_a_right_in_an_outage(
    proxy: TcpProxy, own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """It is told of the end of the outage although one of its groups is refused by then."""
    rights = ["ACL", "SETUSER", "site", "on", ">secret", "+@all", "resetchannels"]
    with own_server.client() as client:
        client.execute_command(*rights, "&asgi*")
    host = {"address": proxy.url, "username": "site", "password": "secret"}
    layer = own_layers(hosts=[host], **NOTICES)
    with LoopThread() as other:
        channel = await other.run(joined(layer, "room"))
        receiver = await waiting(layer, channel)
        proxy.stall(new=True)
        proxy.cut()
        assert await within(receiver) == LOST
        receiver = await waiting(layer, channel)
    with own_server.client() as client:
        client.execute_command(*rights, "&asgispecific*")
    proxy.resume()
    notices = [await within(receiver)]
    while BACK not in notices:
        notices.append(await take(layer, channel))


async def test_moved_channel_is_refused_for_a_while_in_an_outage(
    proxy: TcpProxy,
    own_server: EmbeddedServer,
    own_layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told of the end of the outage although the server has refused the password first."""
    rights = ["ACL", "SETUSER", "site", "on", "resetpass", "+@all", "allchannels"]
    with own_server.client() as client:
        client.execute_command(*rights, ">secret")
        host = {"address": proxy.url, "username": "site", "password": "secret"}
        layer = own_layers(hosts=[host], **NOTICES)
        with LoopThread() as other:
            channel = await other.run(joined(layer, "room"))
            receiver = await waiting(layer, channel)
            proxy.stall(new=True)
            proxy.cut()
            assert await within(receiver) == LOST
            # The first `receive` moves the channel, and would get the error.
            moving = await waiting(layer, channel)
        await eventually(lambda: inside(layer)._clients[channel].loop is asyncio.get_running_loop())
        moving.cancel()
        await asyncio.wait([moving])
        receiver = await waiting(layer, channel)
        client.execute_command(*rights, ">other")
        proxy.resume()
        await eventually(lambda: "invalid username-password" in caplog.text)
        client.execute_command(*rights, ">secret")
    assert await within(receiver) == BACK


async def test_channel_moves_twice_in_an_outage(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """It is told of the end although the loop between was told of nothing."""
    layer = own_layers(**NOTICES)
    with LoopThread() as second:
        with LoopThread() as first:
            channel = await first.run(joined(layer, "room"))
            receiving = second.start(layer.receive(channel))
            await eventually(lambda: inside(layer)._mailboxes.waiting(channel))
            own_server.kill()
            assert await within(asyncio.wrap_future(receiving)) == LOST
            receiving = second.start(layer.receive(channel))
            await eventually(lambda: inside(layer)._mailboxes.waiting(channel))
        await eventually(lambda: inside(layer)._clients[channel].loop is second.loop)
        receiver = await waiting(layer, channel)
    own_server.start()
    assert await within(receiver) == BACK
    await within(layer.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO


async def test_channel_moves_when_its_loop_ends_amid_closing(layers: Layers) -> None:
    """The end of a loop cancels all its tasks, also the one that closes the layer just then."""
    layer = layers()
    closing: list[asyncio.Task[None]] = []

    async def close_and_end() -> None:
        closing.append(asyncio.create_task(layer.close_pools()))
        other._end.set()

    with LoopThread() as other:
        channel = await other.run(joined(layer, "room"))
        receiver = await waiting(layer, channel)
        await other.run(close_and_end())
    assert closing[0].cancelled()
    # Returns when the loop here hears the group.
    await joined(layer, "room")
    await within(layer.group_send("room", HELLO))
    assert await within(receiver) == HELLO


@pytest.mark.usefixtures("frequent_sweeps")
async def test_consumer_cancelled_in_another_loop_leaves_nothing(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Memberships that end in one loop are unsubscribed in the loop that subscribed."""
    layer = own_layers(channel_expiry=1)
    with LoopThread() as other:
        channel = await other.run(joined(layer, "room"))
        await cancel(await waiting(layer, channel))
        await eventually(lambda: not subscribed(own_server))
        await other.run(layer.close_pools())


@pytest.mark.parametrize("bare", [False, True], ids=["asyncio.run", "closed without cleanup"])
def test_loop_that_ends_leaves_no_connection(own_server: EmbeddedServer, *, bare: bool) -> None:
    """A loop takes its connections with it, at the latest when the layer is used again."""
    layer = RedisPubSubChannelLayer(hosts=[own_server.url])

    async def use() -> None:
        channel = await joined(layer, "room")
        await layer.group_send("room", HELLO)
        assert await take(layer, channel) == HELLO

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if bare:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(use())
            loop.close()
        else:
            asyncio.run(use())
        asyncio.run(use())
    asyncio.run(eventually(lambda: not connections(own_server)))
    assert not inside(layer)._clients


def test_synchronous_callers_reach_consumers(own_server: EmbeddedServer) -> None:
    """`async_to_sync` calls from threads reach a consumer, on few connections."""
    layer = RedisPubSubChannelLayer(hosts=[own_server.url])

    def send_ten() -> None:
        for number in range(10):
            async_to_sync(layer.group_send)("room", {"type": "hello", "number": number})

    async def consume() -> None:
        channel = await joined(layer, "room")
        opened = len(connections(own_server))
        await within(asyncio.gather(*(asyncio.to_thread(send_ten) for _ in range(5))))
        received = await take_many(layer, channel, 50)
        numbers = sorted(message["number"] for message in received)
        assert numbers == sorted(list(range(10)) * 5)
        assert len(connections(own_server)) <= opened + 4
        await layer.close_pools()

    asyncio.run(consume())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_gives_the_child_connections_of_its_own(own_server: EmbeddedServer) -> None:
    """A layer that was used before a fork works in the child, and still in the parent."""
    layer = RedisPubSubChannelLayer(
        hosts=[own_server.url],
        on_disconnect=NOTICES["on_disconnect"],
        on_reconnect=NOTICES["on_reconnect"],
    )

    async def talk() -> None:
        channel = await joined(layer, "room")
        await within(layer.group_send("room", HELLO))
        assert await take(layer, channel) == HELLO
        await layer.close_pools()

    async def parent() -> None:
        channel = await joined(layer, "room")
        child = os.fork()
        if child == 0:
            # Nothing of the parent's, such as its running loop, may be used here.
            status = 1
            try:
                thread = threading.Thread(target=lambda: asyncio.run(talk()))
                thread.start()
                thread.join()
                status = 0
            finally:
                os._exit(status)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0
        await within(layer.group_send("room", {"type": "again"}))
        received = [await take(layer, channel)]
        while received[-1] != {"type": "again"}:
            received.append(await take(layer, channel))
        assert LOST not in received
        kill_subscriptions(own_server)
        assert await take_many(layer, channel, 2) == [LOST, BACK]
        await layer.close_pools()

    asyncio.run(parent())


def test_channel_of_a_loop_that_does_not_run(redis_server: EmbeddedServer, prefix: str) -> None:
    """Nothing can be subscribed to in its loop: `group_add` says so, instead of waiting for it."""
    layer = RedisPubSubChannelLayer(hosts=[redis_server.url], prefix=prefix)
    stopped, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    channel = stopped.run_until_complete(within(layer.new_channel()))
    with pytest.raises(RuntimeError, match="another event loop, which does not run"):
        other.run_until_complete(within(layer.group_add("room", channel)))
    # When it runs again, all is well.
    stopped.run_until_complete(within(layer.group_add("room", channel)))
    other.run_until_complete(within(layer.group_send("room", HELLO)))
    assert stopped.run_until_complete(take(layer, channel)) == HELLO
    for loop in (stopped, other):
        loop.run_until_complete(within(layer.close_pools()))
        loop.close()


async def test_loop_that_stops_meanwhile(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """A `group_add` that waits for another loop ends with an error when that loop stops."""
    layer = own_layers()
    started, stop = threading.Event(), threading.Event()
    made: list[str] = []

    def run() -> None:
        loop = asyncio.new_event_loop()
        made.append(loop.run_until_complete(within(layer.new_channel())))

        async def pause() -> None:
            started.set()
            await asyncio.to_thread(stop.wait)

        loop.run_until_complete(pause())
        loop.run_until_complete(asyncio.sleep(0))
        resumed.wait()
        loop.run_until_complete(layer.close_pools())
        loop.close()

    resumed = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        await asyncio.to_thread(started.wait)
        own_server.pause()
        await refused_after(layer, made[0], stop.set)
    finally:
        own_server.resume()
        stop.set()
        resumed.set()
        await asyncio.to_thread(thread.join)


async def test_loop_that_ends_meanwhile(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """Nor does the end of that loop look like a cancellation of the waiting caller."""
    layer = own_layers()
    made: list[str] = []
    started, stop = threading.Event(), threading.Event()

    async def run() -> None:
        made.append(await within(layer.new_channel()))
        started.set()
        await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        await asyncio.to_thread(started.wait)
        own_server.pause()
        await refused_after(layer, made[0], stop.set)
    finally:
        own_server.resume()
        stop.set()
        await asyncio.to_thread(thread.join)


async def refused_after(
    layer: RedisPubSubChannelLayer, channel: str, end_its_loop: Callable[[], None]
) -> None:
    """End a channel's loop while a `group_add` waits for it, and check the error."""
    adding = asyncio.create_task(layer.group_add("room", channel))
    [home] = inside(layer)._loops.values()
    await eventually(home.hub.groups)
    end_its_loop()
    with pytest.raises(RuntimeError, match="another event loop, which does not run"):
        await within(adding)


async def test_close_pools_closes_all(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """After `close_pools` nothing is open, no task runs, and the layer can be used again."""
    layer = own_layers()
    tasks = asyncio.all_tasks()
    for _ in range(2):
        channel = await joined(layer, "room")
        await within(layer.send(channel, HELLO))
        assert await take(layer, channel) == HELLO
        await within(layer.close_pools())
        assert asyncio.all_tasks() == tasks
        await eventually(lambda: not connections(own_server))
        assert len(inside(layer)._mailboxes) == 0


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


async def test_flush_after_close_pools(layers: Layers) -> None:
    """It ends the memberships of channels that stay, too."""
    layer = layers()
    channel = await joined(layer, "room")
    await layer.close_pools()
    await within(layer.flush())
    receiver = await waiting(layer, channel)
    await within(layer.group_add("another", channel))
    await within(layer.group_send("room", {"type": "unheard"}))
    await within(layer.send(channel, HELLO))
    assert await within(receiver) == HELLO


async def test_close_pools_cancels_again(layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Python 3.10 a cancellation may be lost on its way to the task of the subscriptions."""
    layer = layers()

    async def watch(*_: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    monkeypatch.setattr(Subscriber, "_watch", watch)
    await within(layer.new_channel())
    await within(layer.close_pools())


async def test_layer_is_made_without_a_loop(redis_server: EmbeddedServer) -> None:
    """The constructor and a look at the methods need no loop, and connect nowhere."""
    made: list[RedisPubSubChannelLayer] = []

    def make() -> None:
        layer = RedisPubSubChannelLayer(hosts=[redis_server.url])
        assert hasattr(layer, "group_send")
        assert not hasattr(layer, "no_such_method")
        made.append(layer)

    await asyncio.to_thread(make)
    channel = await joined(made[0], "room")
    await within(made[0].group_send("room", HELLO))
    assert await take(made[0], channel) == HELLO
    await made[0].close_pools()
