"""Finds out which of the commands that a layer needs a user may not call."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from ..concurrency.compat import timeout
from .findings import Finding, Level
from .servers import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..transport.commands import Command
    from ..transport.connection import Connection
    from ..transport.connector import Connector
    from .subject import Need

SECONDS = 10


@dataclass(frozen=True)
class Refusal:
    """A command that is forbidden, and the server's reason."""

    need: Need
    reason: str

    @property
    def rule(self) -> str:
        """What to add to the ACL rule of the user."""
        command = self.need.command
        denied = re.search(r" access .*\b(key|channel)s?\b", self.reason)
        if denied and denied[1] == "channel":
            return f"&{_pattern(str(command[1]))}"
        if denied:
            keys = [part for part in command[1:] if isinstance(part, str) and "$doctor" in part]
            return f"~{_pattern(keys[0])}"
        return f"+{_full_name(command)}"


@dataclass(frozen=True)
class Rights:
    """What a user may do."""

    # None: the server knows no users.
    user: str | None
    refusals: Sequence[Refusal] = ()


async def find_rights(connector: Connector, needs: Sequence[Need]) -> Rights:
    """Return which of the commands are forbidden, by ACL DRYRUN or else by trying.

    Raises:
        redis.exceptions.RedisError: The server can't be reached.
    """
    link = await connector.open()
    try:
        user = await _user(link, str(connector.host.arguments.get("username") or "default"))
        if user is not None:
            refusals = await _asked(link, user, needs)
            if refusals is not None:
                return Rights(user, refusals)
        return Rights(user, await _tried(link, needs))
    finally:
        await link.close()


def judge_rights(rights: Rights) -> list[Finding]:
    """Say what the user lacks, and what to add."""
    if rights.user is None:
        return [Finding(Level.OK, "rights", "the server has no ACL")]
    who = f"user {rights.user!r}"
    if not rights.refusals:
        return [Finding(Level.OK, "rights", f"{who} may call all that the layer needs")]
    findings = []
    for only_for in dict.fromkeys(refusal.need.only_for for refusal in rights.refusals):
        refused = [refusal for refusal in rights.refusals if refusal.need.only_for == only_for]
        rules = " ".join(dict.fromkeys(refusal.rule for refusal in refused))
        what = ", ".join(dict.fromkeys(_full_name(refusal.need.command) for refusal in refused))
        findings.append(
            Finding(
                Level.WARNING if only_for else Level.ERROR,
                "rights",
                f"{who} may not call {what}" + (f", which {only_for} needs" if only_for else ""),
                f"ACL SETUSER {rights.user} {rules}",
            )
        )
    return findings


async def _user(link: Connection, written: str) -> str | None:
    """Return who we are to the server: at least who we said that we are."""
    [reply] = await ask(link, ("ACL", "WHOAMI"))
    if isinstance(reply, NoPermissionError):
        return written
    if isinstance(reply, RedisError):
        return None
    return str(reply.decode())


async def _asked(link: Connection, user: str, needs: Sequence[Need]) -> list[Refusal] | None:
    """Return what ACL DRYRUN says of the commands; None if the server or the user lacks it."""
    replies = await ask(link, *(("ACL", "DRYRUN", user, *need.command) for need in needs))
    if isinstance(replies[0], ResponseError):
        return None
    return [
        Refusal(need, _text(reply))
        for need, reply in zip(needs, replies, strict=True)
        if _text(reply) != "OK"
    ]


async def _tried(link: Connection, needs: Sequence[Need]) -> list[Refusal]:
    """Carry the commands out, one by one: some change what the connection may do next."""
    # Listened to, as subscriptions are answered by messages.
    replies: asyncio.Queue[Any] = asyncio.Queue()
    listening = link.listen(replies.put_nowait)
    refusals = []
    try:
        async with timeout(SECONDS):
            for need in needs:
                await link.write([need.command])
                reply = await replies.get()
                if isinstance(reply, NoPermissionError):
                    refusals.append(Refusal(need, str(reply)))
    finally:
        listening.cancel()
    return refusals


def _text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _full_name(command: Command) -> str:
    name = str(command[0]).lower()
    return f"{name}|{str(command[1]).lower()}" if name == "script" else name


def _pattern(name: str) -> str:
    return f"{name.partition('$doctor')[0].partition('__group__')[0]}*"
