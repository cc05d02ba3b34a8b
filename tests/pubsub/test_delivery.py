"""Messages on the wire, and their copies for each member."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgpack
import pytest

from support.messages import joined, take, take_many, within
from support.pubsub_layers import Layers, nothing_else

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

LOGGER = "channels_redis_pubsub"
HELLO = {"type": "hello"}
UNREADABLE = {
    "empty": b"",
    "random": b"\xc1\x9f\x00\xff",
    "truncated": msgpack.packb({"type": "hello", "text": "x" * 50})[:30],
    "no map": msgpack.packb([1, 2]),
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
async def test_unreadable_message_is_dropped(
    redis_server: EmbeddedServer,
    layers: Layers,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
) -> None:
    """Bytes that no layer published: one line in the log, and good messages go on arriving."""
    layer = layers()
    channels = [await joined(layer, "room") for _ in range(2)]
    with redis_server.client() as client, caplog.at_level(logging.INFO, LOGGER):
        await within(layer.group_send("room", {"type": "before"}))
        client.publish(f"{layer.prefix}__group__room", data)
        client.publish(channels[0], data)
        await within(layer.group_send("room", {"type": "after"}))
        for channel in channels:
            assert await take_many(layer, channel, 2) == [{"type": "before"}, {"type": "after"}]
            await nothing_else(layer, channel)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "__group__room" in caplog.text
    assert channels[0] in caplog.text


async def test_names_and_payload_on_the_wire(redis_server: EmbeddedServer, layers: Layers) -> None:
    """Processes of channels_redis and of others find the channels and read the messages."""
    layer = layers()
    channel = await joined(layer, "room")
    prefix = layer.prefix
    digits = channel.removeprefix(f"{prefix}specific.")
    assert len(digits) == 32
    assert int(digits, 16)
    assert (await layer.new_channel("chat")).startswith(f"{prefix}chat")
    payload = bytes.fromhex("83a161c3a162c0a16381a16490")
    with redis_server.client() as client:
        for topic in (channel, f"{prefix}__group__room"):
            assert client.publish(topic, payload) == 1
            assert await take(layer, channel) == {"a": True, "b": None, "c": {"d": []}}
        listener = client.pubsub(ignore_subscribe_messages=True)
        listener.subscribe(f"{prefix}__group__room")
        assert listener.get_message(timeout=None) is None  # the confirmation
        await within(layer.group_send("room", {"a": True, "b": None, "c": {"d": []}}))
        assert await take(layer, channel)
        message = listener.get_message(timeout=5)
        assert message is not None
        assert message["data"] == payload
        listener.close()
