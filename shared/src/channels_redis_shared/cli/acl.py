"""Find the commands that a layer requires and an ACL forbids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, RedisError

from .findings import Finding, Level
from .servers import REPLY_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..transport.connection import Connection


@dataclass(frozen=True)
class RequiredCommand:
    """A command that a layer sends.

    Attributes:
        words: Its words. Those that begin with the layer's prefix are keys, or Redis channels.
        prefix: The layer's prefix.
        only_for: The one feature that requires it; empty: the layer does not work without it.
        level: How bad it is if it is forbidden.
    """

    words: tuple[str, ...]
    prefix: str
    only_for: str = ""
    level: Level = Level.ERROR

    @property
    def name(self) -> str:
        """Its name in an ACL rule."""
        first = self.words[0].lower()
        return f"{first}|{self.words[1].lower()}" if first in {"cluster", "script"} else first

    @property
    def has_key(self) -> bool:
        """True if it names a key of the layer."""
        return any(word.startswith(f"{self.prefix}$") for word in self.words[1:])


def required(
    commands: str, prefix: str, only_for: str = "", level: Level = Level.ERROR
) -> list[RequiredCommand]:
    """Return the commands in a text, between commas, in which KEY stands for a key of the layer."""
    key = f"{prefix}$doctor"
    texts = (text.split() for text in commands.split(","))
    words = (tuple(key if word == "KEY" else word for word in text) for text in texts)
    return [RequiredCommand(one, prefix, only_for, level) for one in words]


async def check_rights(
    connection: Connection, configured: str, commands: Sequence[RequiredCommand]
) -> list[Finding]:
    """Return a finding for the layer itself, and for each feature that the user may not use.

    Args:
        connection: A connection to the server.
        configured: The user in `hosts`.
        commands: What the layer requires.
    """
    [reply] = await connection.exchange([("ACL", "WHOAMI")], REPLY_TIMEOUT)
    if isinstance(reply, RedisError) and not isinstance(reply, NoPermissionError):
        return [Finding(Level.OK, "rights", "the server has no ACL")]
    user = reply.decode() if isinstance(reply, bytes) else configured
    dry_runs = [("ACL", "DRYRUN", user, *one.words) for one in commands]
    replies = await connection.exchange(dry_runs, REPLY_TIMEOUT)
    if isinstance(replies[0], RedisError):
        text = "unknown: ACL DRYRUN needs Redis 7, and a user that may call it"
        return [Finding(Level.NOTE, "rights", text)]
    reasons = {one: str(reply) for one, reply in zip(commands, replies, strict=True)}
    forbidden = [one for one in commands if "OK" not in reasons[one]]
    findings = []
    if all(one.level < Level.WARNING for one in forbidden):
        text = f"user {user!r} may call all that the layer needs"
        findings.append(Finding(Level.OK, "rights", text))
    for feature in dict.fromkeys(one.only_for for one in forbidden):
        missing = [one for one in forbidden if one.only_for == feature]
        # A user without a pattern for keys may have none yet. One of all keys can't be given more.
        may_use_keys = any(
            one.has_key for one in commands if one.only_for == feature and one not in forbidden
        )
        rules = {_rule(one, reasons[one], may_use_keys=may_use_keys) for one in missing}
        words = dict.fromkeys(word for rule in sorted(rules) for word in rule.split())
        names = ", ".join(dict.fromkeys(one.name for one in missing))
        text = f"user {user!r} may not call {names}" + f", which {feature} needs" * bool(feature)
        subject = f"rights, {feature}" if feature else "rights"
        advice = f"ACL SETUSER {user} {' '.join(words)}"
        findings.append(Finding(missing[0].level, subject, text, advice))
    return findings


def _rule(one: RequiredCommand, reason: str, *, may_use_keys: bool) -> str:
    """Return what has to be added to the user's rule."""
    if denied := re.search(r" access .*\b(key|channel)s?\b", reason):
        return f"{'&' if denied[1] == 'channel' else '~'}{one.prefix}*"
    # A server that refuses a command does not look at its keys.
    pattern = f"~{one.prefix}* " if one.only_for and one.has_key and not may_use_keys else ""
    return f"{pattern}+{one.name}"
