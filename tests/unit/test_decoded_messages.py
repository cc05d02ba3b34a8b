"""Messages as they are in a message key: their channels, and copies of them."""

from __future__ import annotations

import msgpack
import pytest

from channels_redis_queue._shared.messages.serializers import MessageDecoder
from channels_redis_queue.keys import CHANNELS_FIELD
from channels_redis_queue.protocol.dispatch import Envelope
from channels_redis_queue.serializers import JSONSerializer, MsgPackSerializer

MESSAGE = {"type": "test", "list": [1, 2]}


def pack(value: object) -> bytes:
    """Return what a layer without random bytes and encryption writes."""
    packed: bytes = msgpack.packb(value)
    return packed


@pytest.fixture
def decoder() -> MessageDecoder[Envelope]:
    """Return a decoder of plain MessagePack."""
    return MessageDecoder(MsgPackSerializer(), Envelope)


@pytest.mark.parametrize(
    ("to", "names"),
    [("a!1", ["a!1"]), (["a!1"], ["a!1"]), (["a!1", "a!:g:room"], ["a!1", "a!:g:room"])],
)
def test_names(decoder: MessageDecoder[Envelope], to: str | list[str], names: list[str]) -> None:
    """A name or a list of names is with the message, and not part of it."""
    decoded = decoder.decode(pack({**MESSAGE, CHANNELS_FIELD: to}))
    assert decoded.names == names
    assert decoded.copy() == MESSAGE
    assert decoded.copy() == MESSAGE


def test_message_for_a_general_channel_needs_no_name(decoder: MessageDecoder[Envelope]) -> None:
    """A message in a general channel's key needs no name."""
    decoded = decoder.decode(pack(MESSAGE))
    assert decoded.names == []
    assert decoded.copy() == MESSAGE


@pytest.mark.parametrize("keys", [None, ["a key"]])
@pytest.mark.parametrize("serializer", [MsgPackSerializer, JSONSerializer])
def test_built_in_serializers(serializer: type[MsgPackSerializer], keys: list[str] | None) -> None:
    """Random bytes and ciphertext are taken off once, and every copy decodes."""
    sealed = serializer(symmetric_encryption_keys=keys, random_prefix_length=12, expiry=60)
    decoded = MessageDecoder(sealed, Envelope).decode(
        sealed.serialize({**MESSAGE, CHANNELS_FIELD: ["a!1", "a!2"]})
    )
    assert decoded.names == ["a!1", "a!2"]
    assert decoded.copy() == decoded.copy() == MESSAGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        pack({**MESSAGE, CHANNELS_FIELD: "a!1"})[:-2],
        pack([1, 2]),
        pack("text"),
        pack(None),
        pack({CHANNELS_FIELD: 1}),
        pack({CHANNELS_FIELD: {"a!1": 1}}),
        pack({CHANNELS_FIELD: ["a!1", 2]}),
        pack({CHANNELS_FIELD: None}),
    ],
)
def test_unreadable(decoder: MessageDecoder[Envelope], data: bytes) -> None:
    """Bytes that hold no message, or name no channel, are an error that a layer expects."""
    with pytest.raises((TypeError, ValueError)):
        decoder.decode(data)


def test_other_options_of_the_sender(decoder: MessageDecoder[Envelope]) -> None:
    """Bytes of another format, or encrypted ones, name the options to compare."""
    for sender in (JSONSerializer(), MsgPackSerializer(["a key of the sender alone"])):
        with pytest.raises(ValueError, match="symmetric_encryption_keys, or another serializer_"):
            decoder.decode(sender.serialize({"type": "x"}))
