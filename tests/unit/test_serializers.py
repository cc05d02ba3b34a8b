from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
import time
from contextlib import nullcontext
from typing import Any, cast

import msgpack
import pytest
from cryptography.fernet import Fernet

from channels_redis_shared.messages.serializers import (
    BaseMessageSerializer,
    DecodedMessage,
    JSONSerializer,
    MessageDecoder,
    MsgPackSerializer,
    SerializersRegistry,
)

MESSAGE: dict[str, Any] = {"a": True, "b": None, "c": {"d": []}}
BOTH = pytest.mark.parametrize("serializer_class", [MsgPackSerializer, JSONSerializer])


@pytest.mark.parametrize(
    ("serializer", "message", "expected"),
    [
        (MsgPackSerializer(), MESSAGE, bytes.fromhex("83a161c3a162c0a16381a16490")),
        # With a blank behind each comma and colon, in ASCII.
        (JSONSerializer(), {"a": [1, "\u00e9"], "b": None}, b'{"a": [1, "\\u00e9"], "b": null}'),
    ],
)
def test_bytes_are_those_of_channels_redis(
    serializer: BaseMessageSerializer, message: dict[str, Any], expected: bytes
) -> None:
    """A message is a msgpack map or JSON, byte for byte."""
    assert serializer.serialize(message) == expected


class _Dated(JSONSerializer):
    """A format written for channels_redis, which hands arguments on to json."""

    def as_bytes(self, message: dict[str, Any], **arguments: Any) -> bytes:
        return super().as_bytes(message, default=str, **arguments)

    def from_bytes(self, data: bytes, **arguments: Any) -> dict[str, Any]:
        return super().from_bytes(data, parse_int=float, **arguments)


class _Packed(MsgPackSerializer):
    """The same for msgpack; channels_redis needs `strict_map_key` for keys that are int."""

    def as_bytes(self, message: dict[str, Any], **arguments: Any) -> bytes:
        return super().as_bytes(message, default=str, **arguments)

    def from_bytes(self, data: bytes, **arguments: Any) -> dict[str, Any]:
        return super().from_bytes(data, strict_map_key=False, use_list=False, **arguments)


@pytest.mark.parametrize(
    ("serializer_class", "expected"),
    [(_Dated, {"day": "2026-01-02", "n": [1.0]}), (_Packed, {"day": "2026-01-02", "n": (1,)})],
)
def test_subclass_hands_arguments_on(
    serializer_class: type[JSONSerializer], expected: dict[str, Any]
) -> None:
    """The built-in serializers pass what a subclass adds to the library's functions."""
    serializer = serializer_class()
    data = serializer.serialize({"day": dt.date(2026, 1, 2), "n": [1]})
    assert serializer.deserialize(data) == expected


def test_random_bytes_stand_before_the_message_and_differ() -> None:
    """Equal messages become different bytes, by their first bytes alone."""
    serializer = MsgPackSerializer(random_prefix_length=12)
    sealed = {serializer.serialize(MESSAGE) for _ in range(100)}
    assert len(sealed) == 100
    assert {data[12:] for data in sealed} == {msgpack.packb(MESSAGE)}


@pytest.mark.parametrize(
    ("age", "refusal"),
    [
        (65, ""),
        (75, r"7\d s ago: it is too old, or the clocks .* differ"),
        (-500, r"\d s in the future: .* the clocks of the machines"),
    ],
)
def test_ciphertext_lives_ten_seconds_longer_than_a_message(age: int, refusal: str) -> None:
    """With an expiry of 60 seconds, 70 seconds; without one, its time does not matter."""
    fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"key").digest()))
    sealed = fernet.encrypt_at_time(msgpack.packb(MESSAGE), int(time.time()) - age)
    assert MsgPackSerializer(["key"]).deserialize(sealed) == MESSAGE
    with pytest.raises(ValueError, match=refusal) if refusal else nullcontext():
        assert MsgPackSerializer(["key"], expiry=60).deserialize(sealed) == MESSAGE


@BOTH
@pytest.mark.parametrize(
    "body",
    [b"", msgpack.packb(MESSAGE) + b"x", b"\x81\x90\x01", b"\x91" * 5000, b"null", b"[" * 100_000],
    ids=lambda body: repr(body[:20]),
)
def test_bytes_that_are_no_message_are_a_value_error(
    serializer_class: type[BaseMessageSerializer], body: bytes
) -> None:
    """Whatever bytes arrive, the only error is a ValueError."""
    serializer = serializer_class(random_prefix_length=12)
    for data in (bytes(12) + body, body[:11]):
        with pytest.raises(ValueError, match=r"."):
            serializer.deserialize(data)


RECURSIVE: dict[str, Any] = {"list": []}
RECURSIVE["list"].append(RECURSIVE)
DEEP: dict[str, Any] = {}
for _ in range(100_000):
    DEEP = {"deeper": DEEP}


@BOTH
@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            {"user": {"joined": dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)}},
            "message['user']['joined'] is of type datetime.datetime, which ",
        ),
        ({"a": 1, "list": [0, ({"x": {1, 2}},)]}, "message['list'][1][0]['x'] is of type set"),
        ({"c": object()}, "message['c'] is of type object, which "),
        ({"c": print}, "message['c'] is of type builtin_function_or_method, which "),
        ({"keys": {"x": {frozenset(): 1}}}, "message['keys']['x'] has the key frozenset() of type"),
        (RECURSIVE, "message['list'][0] contains itself, which "),
        (DEEP, "there is something deep in message['deeper']['deeper']"),
    ],
    ids=["value", "in a list", "object", "function", "key", "recursive", "deep"],
)
def test_part_that_cannot_be_serialized_is_named(
    serializer_class: type[BaseMessageSerializer], message: dict[str, Any], text: str
) -> None:
    """The error is a TypeError that shows the way to the part, its type and what to do."""
    with pytest.raises(TypeError, match=f"^{re.escape(text)}") as caught:
        serializer_class().serialize(message)
    assert f"{serializer_class.__name__} cannot serialize" in str(caught.value)
    assert str(caught.value).endswith("send plain values, such as str(value)")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("serializer_class", "value"),
    [(MsgPackSerializer, 2**70), (MsgPackSerializer, "\ud800"), (JSONSerializer, b"bytes")],
)
def test_value_that_one_format_cannot_hold_is_named(
    serializer_class: type[BaseMessageSerializer], value: object
) -> None:
    """Values of plain types that are beyond a format are a TypeError as well."""
    with pytest.raises(TypeError, match=r"^message\['x'\] is of type "):
        serializer_class().serialize({"x": value})


def test_message_refused_as_a_whole_is_named_so() -> None:
    """If a custom format refuses no part of it, the text names the message."""

    class Picky(JSONSerializer):
        def as_bytes(self, message: dict[str, Any], **_arguments: Any) -> bytes:
            if "version" in message and "type" in message:
                raise LookupError("no such version")
            return b""

    expected = "message is of type dict, which Picky cannot serialize (no such version)"
    with pytest.raises(TypeError, match=re.escape(expected)):
        Picky().serialize({"version": 5, "type": "x"})


@pytest.mark.parametrize("wrong", [int, "module.Plain", None, MsgPackSerializer()])
def test_only_classes_that_serialize_can_be_registered(wrong: object) -> None:
    """Instances, names and other classes are refused; with an AssertionError, for old code."""
    with pytest.raises(TypeError, match="the serializer for 'mine' must be a class with") as caught:
        SerializersRegistry().register_serializer("mine", cast("type", wrong))
    assert isinstance(caught.value, AssertionError)


def test_deserialize_says_what_the_bytes_hold_instead_of_a_message() -> None:
    """A list in place of a message is named in the error."""
    with pytest.raises(ValueError, match=r"^it is of type list, not a dict$"):
        MsgPackSerializer().deserialize(msgpack.packb([1]))


def test_other_options_of_the_sender() -> None:
    """Bytes of another format, or encrypted ones, name the options to compare."""
    decoder = MessageDecoder(MsgPackSerializer(), DecodedMessage)
    for sender in (JSONSerializer(), MsgPackSerializer(["a key of the sender alone"])):
        with pytest.raises(ValueError, match="symmetric_encryption_keys, or another serializer_"):
            decoder.decode(sender.serialize({"type": "x"}))
