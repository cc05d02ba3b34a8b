"""The look of the layer and of its messages, and names and questions that it refuses."""

from __future__ import annotations

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from support.messages import joined, take, within
from support.pubsub_layers import Layers, nothing_else

HELLO = {"type": "hello"}


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


def test_repr_shows_no_password() -> None:
    """Tracebacks and logs show only the hosts."""
    layer = RedisPubSubChannelLayer(hosts=["redis://user:secret@example.org:6380/2"])
    assert "example.org:6380" in repr(layer)
    assert "secret" not in repr(layer)


async def test_members_of_groups_are_unknown() -> None:
    """`group_count` and `group_channels` raise NotImplementedError, which says what can tell."""
    layer = RedisPubSubChannelLayer()
    for method in (layer.group_count, layer.group_channels):
        with pytest.raises(NotImplementedError, match="Use the queue layer") as raised:
            await method("room")
        assert "the group 'room'" in str(raised.value)


async def test_channel_of_another_process_joins_no_group(layers: Layers) -> None:
    """`group_add` says what to do instead, and `group_discard` of it does nothing."""
    layer, other = layers(), layers()
    channel = await other.new_channel()
    with pytest.raises(RuntimeError, match=r"self\.channel_name") as caught:
        await within(layer.group_add("room", channel))
    assert channel in str(caught.value)
    await within(layer.group_discard("room", channel))
    await within(layer.group_send("room", {"type": "unheard"}))
    await nothing_else(other, channel)


async def test_group_of_a_channel_name_is_refused(layers: Layers) -> None:
    """Sending to a group by its name on the server is an error."""
    layer = layers()
    await joined(layer, "room")
    with pytest.raises(TypeError, match="group_send"):
        await within(layer.send(f"{layer.prefix}__group__room", HELLO))
    with pytest.raises(TypeError, match="group_send"):
        await within(layer.receive(f"{layer.prefix}__group__room"))


@pytest.mark.parametrize("prefix", ["", "site:", "{site}:", "my site/"])
async def test_prefix_may_hold_other_characters(layers: Layers, prefix: str) -> None:
    """Names made with a prefix that no channel's name could have are good names."""
    layer = layers(prefix=prefix)
    channel = await joined(layer, "prefixed-room")
    await within(layer.send(channel, HELLO))
    await within(layer.group_send("prefixed-room", HELLO))
    assert [await take(layer, channel), await take(layer, channel)] == [HELLO] * 2


async def test_flush_is_of_one_process(layers: Layers) -> None:
    """Members in another process stay members."""
    layer, other = layers(), layers()
    here, there = await joined(layer, "room"), await joined(other, "room")
    await within(layer.flush())
    await within(other.group_send("room", HELLO))
    assert await take(other, there) == HELLO
    await nothing_else(layer, here)
