from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_shared.transport.cluster import read_slots

ASKED = ("asked", 7000)


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


@pytest.mark.parametrize("reply", [None, [[0, 1, []]], [[0, 2**62, [b"10.0.0.1", 7001]]]], ids=repr)
def test_reply_that_is_no_slot_map(reply: Any) -> None:
    """It counts as a node that can't be asked, and takes no memory."""
    with pytest.raises(RedisConnectionError, match="asked:7000 to CLUSTER SLOTS can't be read"):
        read_slots(reply, ASKED)
