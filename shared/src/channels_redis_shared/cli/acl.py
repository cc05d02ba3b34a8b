"""Find the commands that a layer requires and an ACL forbids."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from ..concurrency import timeout
from .servers import REPLY_TIMEOUT, open_connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..transport.commands import Command
    from ..transport.connection import Connection
    from ..transport.connector import Connector


@dataclass(frozen=True)
class RequiredCommand:
    """A command that a layer sends, with arguments that do no harm."""

    command: Command
    # The one feature that requires it; empty: the layer does not work without it.
    only_for: str = ""
    # Many sites don't use the feature.
    optional: bool = False

    @property
    def name(self) -> str:
        """Its name in an ACL rule."""
        name = str(self.command[0]).lower()
        return f"{name}|{str(self.command[1]).lower()}" if name == "script" else name

    def pattern(self, sign: str) -> list[str]:
        """Return the pattern of the layer's names, if the command has one of them."""
        for part in self.command[1:]:
            if isinstance(part, str) and "doctor" in part:
                return [f"{sign}{re.split(r'[$]doctor|__group__', part)[0]}*"]
        return []


@dataclass(frozen=True)
class ForbiddenCommand:
    """A command that the server refuses, and its reason."""

    required: RequiredCommand
    reason: str
    # True if the user may call another command of the feature, with one of the layer's keys.
    may_use_keys: bool = False

    @property
    def missing_rules(self) -> list[str]:
        """The additions to the user's ACL rule."""
        denied = re.search(r" access .*\b(key|channel)s?\b", self.reason)
        if denied is None:
            rules = [f"+{self.required.name}"]
            # A server that refuses a command does not look at its keys. A layer without the feature
            # may have none. A user of all keys can't be given a pattern.
            adds_pattern = self.required.only_for and not self.may_use_keys
            return [*self.required.pattern("~"), *rules] if adds_pattern else rules
        return self.required.pattern("&" if denied[1] == "channel" else "~")


async def find_forbidden(
    connector: Connector, required: Sequence[RequiredCommand]
) -> tuple[str | None, list[ForbiddenCommand]]:
    """Return the user, and the commands that it may not call, by ACL DRYRUN or by calling them.

    The user is None if the server has no ACLs.

    Raises:
        redis.exceptions.RedisError: The server can't be reached.
    """
    async with open_connection(connector) as connection:
        configured = connector.host.arguments.get("username") or "default"
        user = await _read_user(connection, configured)
        if user is None:
            return None, []
        forbidden = await _dry_run(connection, user, required)
        if forbidden is None:
            forbidden = await _call(connection, required)
        refused = [one.required for one in forbidden]
        with_keys = {one.only_for for one in required if one not in refused and one.pattern("~")}
        return user, [
            replace(one, may_use_keys=one.required.only_for in with_keys) for one in forbidden
        ]


async def _read_user(connection: Connection, configured: str) -> str | None:
    [reply] = await connection.exchange([("ACL", "WHOAMI")], REPLY_TIMEOUT)
    if isinstance(reply, NoPermissionError):
        return configured
    return None if isinstance(reply, RedisError) else str(reply.decode())


async def _dry_run(
    connection: Connection, user: str, required: Sequence[RequiredCommand]
) -> list[ForbiddenCommand] | None:
    """Return the commands that ACL DRYRUN refuses; None if the server or the user lacks it."""
    dry_runs = [("ACL", "DRYRUN", user, *one.command) for one in required]
    replies = await connection.exchange(dry_runs, REPLY_TIMEOUT)
    if isinstance(replies[0], ResponseError):
        return None
    reasons = [reply.decode() if isinstance(reply, bytes) else str(reply) for reply in replies]
    return [
        ForbiddenCommand(one, reason)
        for one, reason in zip(required, reasons, strict=True)
        if reason != "OK"
    ]


async def _call(
    connection: Connection, required: Sequence[RequiredCommand]
) -> list[ForbiddenCommand]:
    """Call the commands one by one, as some change what the connection may do next."""
    # Subscriptions are answered by messages, which only a listener gets.
    replies: asyncio.Queue[Any] = asyncio.Queue()
    listening = connection.replies.listen(replies.put_nowait)
    forbidden = []
    try:
        async with timeout(REPLY_TIMEOUT):
            for one in required:
                await connection.write([one.command])
                reply = await replies.get()
                if isinstance(reply, NoPermissionError):
                    forbidden.append(ForbiddenCommand(one, str(reply)))
    finally:
        listening.cancel()
    return forbidden
