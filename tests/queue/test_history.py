"""Groups of the queue layer that keep a history: what is lost on the way is read from there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_queue._shared.history.store import HistoryStore
from support import inside
from support.histories import GROUP, HISTORY, follow, plain, send
from support.messages import numbered, take, take_many, within
from support.queue_layers import Layers, nothing_else
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from channels_redis_queue._shared.history.store import Replay
    from support.messages import Message
    from support.proxy import TcpProxy


async def lose(proxy: TcpProxy, sender: RedisChannelLayer, message: Message) -> None:
    """Let a sender fail once the history has its message."""
    loss = proxy.lose_reply(b"test.message")
    with pytest.raises(RedisConnectionError):
        await within(sender.group_send(GROUP, message))
    await within(loss.happened.wait())


@pytest.mark.parametrize("reads_at_once", [False, True])
@pytest.mark.parametrize("leaves", [False, True])
async def test_a_cut_between_append_and_fan_out(
    proxy: TcpProxy, own_layers: Layers, *, leaves: bool, reads_at_once: bool
) -> None:
    """Its message is lost for no one; what comes later, also a leave, does not overtake it."""
    layer, sender = own_layers(**HISTORY), own_layers(hosts=[proxy.url], **HISTORY)
    channel, _ = await follow(layer)
    messages, received = numbered(3), []
    await send(sender, messages[:1])
    if reads_at_once:
        received.append(await take(layer, channel))
    await lose(proxy, sender, messages[1])
    await send(sender, messages[2:])
    if leaves:
        await within(layer.group_discard(GROUP, channel))
    await within(layer.send(channel, {"type": "direct"}))
    received += await take_many(layer, channel, 3 - len(received))
    assert plain(received) == messages
    assert await take(layer, channel) == {"type": "direct"}
    await nothing_else(layer, channel)
    assert layer.statistics().replayed == 2


async def test_a_leave_and_a_join_amid_a_read(
    proxy: TcpProxy, own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel that leaves and joins again gets what follows `since`, also amid a gap."""
    layer, sender = own_layers(**HISTORY), own_layers(hosts=[proxy.url], **HISTORY)
    channel, joined = await follow(layer)
    other = await within(layer.new_channel())
    messages, may_read, read = numbered(3), asyncio.Event(), HistoryStore.read

    async def read_later(*arguments: Any) -> Replay:
        await may_read.wait()
        return await read(*arguments)

    await send(layer, messages[:1])
    assert plain([await take(layer, channel)]) == messages[:1]
    monkeypatch.setattr(HistoryStore, "read", read_later)
    await lose(proxy, sender, messages[1])
    await send(layer, messages[2:])
    await within(layer.group_discard(GROUP, channel))
    # The leave comes in the order of the messages.
    await within(layer.send(other, {"type": "marker"}))
    await take(layer, other)
    back = asyncio.ensure_future(layer.group_add(GROUP, channel, since=joined.position))
    await asyncio.sleep(0)  # it has begun
    may_read.set()
    again = await within(back)
    assert again is not None
    assert again.recovered
    assert plain(await take_many(layer, channel, 3)) == messages


async def test_messages_older_than_ttl_are_removed(own_layers: Layers) -> None:
    """A busy group keeps no message for longer than its `ttl`, whatever its `size`."""
    layer, stream = own_layers(**HISTORY), f"asgi$history{{{GROUP}}}"
    with own_layers.server.client() as client:
        client.xadd(stream, {"n": "0123abcd", "p": "", "m": "old"}, id="1-1")
        await send(layer, numbered(2))
        assert client.xlen(stream) == 2


async def test_messages_that_a_full_key_refused(own_layers: Layers) -> None:
    """A process reads what its full key has refused as soon as the next message arrives."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY, capacity=1)
    channel, joined = await follow(layer)
    messages = numbered(20)
    await send(sender, messages)
    assert sender.statistics().dropped.capacity > 0
    received = await take_many(layer, channel, 1)
    await send(sender, [{"type": "last"}])
    received += await take_many(layer, channel, 20)
    assert plain(received) == [*messages, {"type": "last"}]
    assert joined.recovered


async def test_general_channels_and_other_processes(own_layers: Layers) -> None:
    """Members by their own name get positions, too; only a channel's process can look back."""
    layer, other = own_layers(**HISTORY), own_layers(**HISTORY)
    joined = await within(layer.group_add(GROUP, "jobs"))
    channel = await within(other.new_channel())
    await within(layer.group_add(GROUP, channel))
    await send(layer, numbered(1))
    for reader, name in ((layer, "jobs"), (other, channel)):
        assert plain([await take(reader, name)]) == numbered(1)
    assert joined is not None
    for name in ("jobs", channel):
        with pytest.raises(ValueError, match="is not a channel of this event loop: only its own"):
            await within(layer.group_add(GROUP, name, since=joined.position))


async def test_flush_forgets_histories(own_layers: Layers) -> None:
    """A position from before a flush is unknown after it."""
    layer = own_layers(**HISTORY)
    _, joined = await follow(layer)
    await send(layer, numbered(2))
    await within(layer.flush())
    _, again = await follow(layer, since=joined.position)
    assert not again.recovered


@pytest.mark.usefixtures("frequent_checks")
async def test_followers_end_with_their_members(own_layers: Layers) -> None:
    """Nothing of a group stays in the process after its last member has left."""
    layer = own_layers(**HISTORY)
    channel, _ = await follow(layer)
    followers = inside.followers(layer)
    await send(layer, numbered(1))
    await take(layer, channel)
    assert len(followers) == 1
    await within(layer.group_discard(GROUP, channel))
    # The leave comes in the order of the messages.
    await within(layer.send(channel, {"type": "marker"}))
    await take(layer, channel)
    await eventually(lambda: not followers)


async def test_messages_older_than_expiry_can_be_read(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encrypted history is not bound by the age that messages may have in a queue."""
    layer = own_layers(**HISTORY, symmetric_encryption_keys=["secret"], expiry=5)
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now - 100)
        await send(layer, numbered(1))
    channel, joined = await follow(layer, rewind=1)
    assert joined.recovered
    assert plain([await take(layer, channel)]) == numbered(1)
    assert plain((await within(layer.group_history(GROUP))).messages) == numbered(1)
