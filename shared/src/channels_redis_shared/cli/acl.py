"""Find the commands that a layer requires and an ACL forbids."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import RedisError

from ..transport.advice import missing_rule
from .findings import Finding, Level
from .servers import REPLY_TIMEOUT, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..transport.connection import Connection


class Rights(NamedTuple):
    """The rights that a layer, or a feature of it, requires.

    Attributes:
        commands: Commands between commas, in which KEY stands for a key of the layer, or a Redis
            channel.
        feature: The one feature that requires them; empty: the layer does not work without them.
        level: How bad it is if one is forbidden.
    """

    commands: str
    feature: str = ""
    level: Level = Level.ERROR


async def check_rights(
    connection: Connection, prefix: str, required: Sequence[Rights]
) -> list[Finding]:
    """Return a finding for the layer itself, and for each feature.

    Args:
        connection: A connection to the server.
        prefix: The layer's prefix.
        required: What the layer requires.
    """
    try:
        user = (await ask(connection, "ACL", "WHOAMI")).decode()
        await ask(connection, "ACL", "DRYRUN", user, "PING")
    except RedisError as error:
        text = f"unknown: this needs Redis 7, and a user that may call ACL ({error})"
        return [Finding(Level.NOTE, "rights", text)]
    return [await _check_feature(connection, user, prefix, one) for one in required]


async def _check_feature(
    connection: Connection, user: str, prefix: str, required: Rights
) -> Finding:
    texts = required.commands.replace("KEY", f"{prefix}$doctor").split(",")
    dry_runs = [("ACL", "DRYRUN", user, *text.split()) for text in texts]
    replies = await connection.exchange(dry_runs, REPLY_TIMEOUT)
    refused = [reply.decode() for reply in replies if reply != b"OK"]
    rules = " ".join(dict.fromkeys(missing_rule(text, prefix) for text in refused))
    subject = f"rights, {required.feature}" if required.feature else "rights"
    needs = f"{required.feature or 'the layer'} needs"
    if not rules:
        return Finding(Level.OK, subject, f"user {user!r} may call all that {needs}")
    text = f"user {user!r} lacks {rules}, which {needs}"
    return Finding(required.level, subject, text, f"ACL SETUSER {user} {rules}")
