"""Commands on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.connection import Connection

from channels_redis_shared.transport.commands import pack

if TYPE_CHECKING:
    from channels_redis_shared.transport.commands import Command

COMMANDS = [
    ("PING",),
    ("SET", "ключ", b"\x00\r\n\xff"),
    ("ZADD", "key", 1732400000.123456, b"", 0, -5, 10**20),
    ("EVALSHA", "a" * 40, 0, 0.1 + 0.2, 1e300),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_same_bytes_as_from_redis_py(command: Command) -> None:
    """A command is what redis-py would make of it."""
    theirs = b"".join(Connection().pack_command(*command))
    assert pack(command) == theirs


def test_what_is_no_text() -> None:
    """Half a surrogate pair is refused before anything is sent."""
    with pytest.raises(UnicodeEncodeError):
        pack(("SET", "\ud800", b""))
