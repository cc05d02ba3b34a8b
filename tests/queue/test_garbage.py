"""Bytes in a channel's key that no layer wrote."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from support.messages import take, take_numbers
from support.queue_layers import Layers, beside

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from embedded_server import EmbeddedServer

RANDOM = b"\x00" * 12  # what stands before each message


def garbage(layer: RedisChannelLayer, channel: str) -> dict[str, bytes]:
    """Return bytes that are no message, by what is wrong with them."""
    to: dict[str, Any] = {"__asgi_channel__": channel} if "!" in channel else {}
    good = layer.serialize({"type": "hello", **to})
    return {
        "empty": b"",
        "shorter than the random bytes": b"12345",
        "nothing after the random bytes": RANDOM,
        "random": RANDOM + b"\xc1" + os.urandom(30),
        "truncated": good[:-3],
        "no map": RANDOM + msgpack.packb([1, 2]),
        "no map either": RANDOM + msgpack.packb("text"),
        "plain among the encrypted, or the reverse": RANDOM
        + b"gAAAAABl"
        + os.urandom(40).hex().encode(),
    }


@pytest.mark.parametrize("keys", [None, ["a key"]])
@pytest.mark.parametrize("kind", ["specific", "general"])
async def test_garbage_is_dropped(
    layers: Layers,
    redis_server: EmbeddedServer,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    keys: list[str] | None,
) -> None:
    """Each is dropped, and one line names the channel; good ones before and after arrive."""
    layer = layers(symmetric_encryption_keys=keys)
    stranger = layers(symmetric_encryption_keys=["another key"])
    channel = await layer.new_channel() if kind == "specific" else "jobs"
    bad = garbage(layer, channel)
    if keys:
        to = {"__asgi_channel__": channel} if "!" in channel else {}
        bad["another key's"] = stranger.serialize({"type": "hello", **to})
    key = beside(layer, channel).key
    await layer.send(channel, {"number": 0})
    with redis_server.client() as client:
        for number, data in enumerate(bad.values(), start=1):
            client.zadd(key, {data: time.time()})
            await layer.send(channel, {"number": number})
    assert await take_numbers(layer, channel, len(bad) + 1) == list(range(len(bad) + 1))
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert key.removeprefix(layer.prefix) in line
    assert layer.statistics().dropped.undecodable == len(bad)


async def test_encrypted_message_in_the_key_of_another_channel(
    layers: Layers, redis_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
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
    with redis_server.client() as client:
        for number, source in enumerate(sources):
            (stolen,) = client.zrange(source, 0, -1)
            client.zadd(payments, {stolen: time.time() - 30 + number})
    assert await take_numbers(layer, "payments", 1) == [1]
    assert "it is for another channel" in caplog.text
    assert layer.statistics().dropped.undecodable == len(sources)
    for name in (channel, "thumbnails", "mails"):
        assert await take_numbers(layer, name, 1) == [0]


async def test_encrypted_message_of_channels_redis_4(
    layers: Layers, redis_server: EmbeddedServer
) -> None:
    """A process of channels_redis 4 names no general channel in what it sends there."""
    layer = layers(symmetric_encryption_keys=["a key"])
    with redis_server.client() as client:
        names = beside(layer, "jobs")
        client.zadd(names.bell, {"": 0})
        client.zadd(names.key, {layer.serialize({"number": 0}): time.time()})
    assert await take(layer, "jobs") == {"number": 0}
