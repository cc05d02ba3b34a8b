"""Messages on the wire, and their copies for each member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.messages import joined, take, within

if TYPE_CHECKING:
    from support.pubsub_layers import Layers


async def test_names_and_payload_on_the_wire(layers: Layers) -> None:
    """Processes of channels_redis and of others find the channels and read the messages."""
    layer = layers()
    channel = await joined(layer, "room")
    prefix = layer.prefix
    digits = channel.removeprefix(f"{prefix}specific.")
    assert len(digits) == 32
    assert int(digits, 16)
    assert (await layer.new_channel("chat")).startswith(f"{prefix}chat")
    payload = bytes.fromhex("83a161c3a162c0a16381a16490")
    with layers.server.client() as client:
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
