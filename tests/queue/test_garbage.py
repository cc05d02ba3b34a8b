"""Messages in a channel's key that this layer did not write there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.messages import take, take_numbers
from support.queue_layers import Layers, beside

if TYPE_CHECKING:
    import pytest


async def test_encrypted_message_in_the_key_of_another_channel(
    layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """Write access to Redis doesn't allow redirecting a message to another channel."""
    layer = layers(symmetric_encryption_keys=["a key"])
    channel = await layer.new_channel()
    await layer.send(channel, {"number": 0})
    await layer.send("thumbnails", {"number": 0})
    await layer.group_add("workers", "mails")
    await layer.group_send("workers", {"number": 0})
    await layer.send("payments", {"number": 1})
    payments = beside(layer, "payments").key
    sources = [beside(layer, name).key for name in (channel, "thumbnails", "mails")]
    with layers.server.client() as client:
        for number, source in enumerate(sources):
            (stolen,) = client.zrange(source, 0, -1)
            client.zadd(payments, {stolen: time.time() - 30 + number})
    assert await take_numbers(layer, "payments", 1) == [1]
    assert "it is for another channel" in caplog.text
    assert layer.statistics().dropped.undecodable == len(sources)
    for name in (channel, "thumbnails", "mails"):
        assert await take_numbers(layer, name, 1) == [0]


async def test_encrypted_message_of_channels_redis_4(layers: Layers) -> None:
    """A process of channels_redis 4 names no general channel in what it sends there."""
    layer = layers(symmetric_encryption_keys=["a key"])
    with layers.server.client() as client:
        names = beside(layer, "jobs")
        client.zadd(names.bell, {"": 0})
        client.zadd(names.key, {layer.serialize({"number": 0}): time.time()})
    assert await take(layer, "jobs") == {"number": 0}
