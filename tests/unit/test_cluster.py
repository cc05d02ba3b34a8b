from __future__ import annotations

import logging
from typing import Any

import pytest
from redis.exceptions import AskError, MovedError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_shared.transport.cluster import read_slots, slot_of
from channels_redis_shared.transport.errors import is_redirect, was_not_executed
from channels_redis_shared.transport.reconnecting import OutageLog

ASKED = ("asked", 7000)


def test_slot_of_a_key() -> None:
    """It is that of the servers: the CRC16 of the hash tag, if there is one."""
    assert slot_of("123456789") == 12739  # the CRC's published check value, 0x31C3
    assert slot_of("asgi$bell{asgijobs}") == slot_of("asgijobs")


def test_owners_are_read_from_what_a_node_says() -> None:
    """Each slot has the first of its nodes; a node without a name is the one that was asked."""
    reply = [
        [0, 1, [b"10.0.0.1", 7001, b"id", [b"hostname", b"x"]], [b"10.0.0.9", 7009, b"id"]],
        [2, 2, [b"", 7002, b"id"]],
        [4, 4, [None, 7003, b"id"]],
        [5, 5, [b"?", 7004]],
        [16383, 16383, ["name.example", 7005, "id"]],
    ]
    owners = read_slots(reply, ASKED)
    assert len(owners) == 16384
    assert owners[:7] == [
        ("10.0.0.1", 7001),
        ("10.0.0.1", 7001),
        ("asked", 7002),
        None,
        ("asked", 7003),
        ("asked", 7004),
        None,
    ]
    assert owners[-1] == ("name.example", 7005)


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [[0, 1, []]],
        [[0, 1, [b"\xff", 7001]]],
        [[0, 2**62, [b"10.0.0.1", 7001]]],
        [[-3, 1, [b"10.0.0.1", 7001]]],
        [[0, 1, [b"10.0.0.1", 2**40]]],
        [[0, 1, [b"10.0.0.1", b"port"]]],
    ],
    ids=repr,
)
def test_reply_that_is_no_slot_map(reply: Any) -> None:
    """It counts as a node that can't be asked, and takes no memory."""
    with pytest.raises(RedisConnectionError, match="asked:7000 to CLUSTER SLOTS can't be read"):
        read_slots(reply, ASKED)


def test_slot_that_is_elsewhere_is_logged_in_words(caplog: pytest.LogCaptureFixture) -> None:
    """The server's answer has two numbers and an address only."""
    for error in (MovedError("866 10.0.0.1:7001"), AskError("866 10.0.0.1:7001")):
        OutageLog(logging.getLogger("here"), "the Cluster").lost("me", error)
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        assert "slot 866 has moved, or is about to move, to 10.0.0.1:7001" in message


@pytest.mark.parametrize(
    "error",
    [
        MovedError("866 10.0.0.1:7001"),
        AskError("866 10.0.0.1:7001"),
        TryAgainError("Multiple keys request during rehashing of slot"),
    ],
    ids=lambda error: f"{type(error).__name__}: {error}",
)
def test_slot_that_is_elsewhere_is_no_failure(error: Exception) -> None:
    """The command was not executed, and may be sent again."""
    assert is_redirect(error)
    assert was_not_executed(error)
