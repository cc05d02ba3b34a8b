"""Both versions of the protocol of Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support import inside as look
from support.messages import cancel, joined, numbered, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    inside,
    kill_subscriptions,
    subscribed,
    waiting,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

HELLO = {"type": "hello"}


@pytest.fixture(params=[2, 3])
def protocol(request: pytest.FixtureRequest) -> int:
    """Return the version of the protocol."""
    version: int = request.param
    return version


@pytest.fixture
def layers(own_server: EmbeddedServer, own_layers: Layers, protocol: int) -> Layers:
    """Return a maker of layers that speak the protocol."""
    own_layers.options = {"hosts": [{"address": own_server.url, "protocol": protocol}], **NOTICES}
    return own_layers


async def test_all_works(own_server: EmbeddedServer, layers: Layers) -> None:
    """Channels, groups, an outage, leaving."""
    layer, other = layers(), layers()
    channels = [await joined(layer, "room") for _ in range(3)]
    general = await waiting(layer, "jobs")
    for sender in (layer, other):
        await within(sender.group_send("room", HELLO))
        await within(sender.send(channels[0], {"type": "direct"}))
    await within(other.send("jobs", HELLO))
    assert await within(general) == HELLO
    assert await take_many(layer, channels[0], 4) == [HELLO, {"type": "direct"}] * 2
    assert await take_many(layer, channels[1], 2) == [HELLO] * 2
    await within(layer.group_discard("room", channels[1]))
    kill_subscriptions(own_server)
    assert await take_many(layer, channels[0], 2) == [LOST, BACK]
    await within(other.group_send("room", HELLO))
    assert await take(layer, channels[0]) == HELLO
    assert await take_many(layer, channels[1], 2) == [LOST, BACK]
    for channel in channels[:2]:
        inside(layer).close(channel)
    await eventually(lambda: channels[0] not in subscribed(own_server))
    assert await take_many(layer, channels[2], 5) == [HELLO, HELLO, LOST, BACK, HELLO]


async def test_many_messages_at_once(layers: Layers) -> None:
    """A flood of messages, large and small, arrives whole and in order."""
    layer, other = layers(capacity=5000), layers()
    channel = await layer.new_channel()
    messages = [
        {**message, "text": "x" * (200_000 if message["number"] % 50 == 0 else 20)}
        for message in numbered(600)
    ]
    receiver = asyncio.create_task(take_many(layer, channel, 600))
    await within(asyncio.gather(*(other.send(channel, message) for message in messages)))
    assert await within(receiver) == messages


async def test_probes_are_answered(
    own_server: EmbeddedServer, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a probe is understood, with subscriptions and without."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.05)
    monkeypatch.setattr("channels_redis_pubsub.subscriber.SILENCE_GRACE", 5.0)
    layer = layers()
    channel = await layer.new_channel()
    receiver = await waiting(layer, channel)
    done, _ = await asyncio.wait([receiver], timeout=1)
    assert not done
    await cancel(receiver)
    inside(layer).close(channel)
    await eventually(lambda: not subscribed(own_server))
    [subscriber] = look.subscribers(layer)
    running = look.running(subscriber)
    # It ends some looks later by itself; an answer that it took for an error would begin it anew.
    await within(running)
    channel = await within(layer.new_channel())
    await within(layer.send(channel, HELLO))
    assert await take(layer, channel) == HELLO


async def test_server_that_goes_is_noticed(own_server: EmbeddedServer, layers: Layers) -> None:
    """A killed server is noticed at once, and its return, too."""
    layer = layers()
    channel = await joined(layer, "room")
    own_server.kill()
    assert await take(layer, channel) == LOST
    own_server.start()
    assert await take(layer, channel) == BACK
    await within(layer.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO
