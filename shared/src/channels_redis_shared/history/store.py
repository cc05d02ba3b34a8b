"""Append to the histories of groups in Redis, and read them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from . import scripts
from .positions import HistoryEntry, Replay, id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..transport.commands import Argument, CommandClient
    from .rules import Limits

# Seconds that the position of a group's latest message lives, if its messages live shorter: then a
# group that was silent for longer than its `ttl` has lost nothing.
POSITION_TTL = 86_400


def _nonce() -> str:
    return os.urandom(4).hex()


class Question(NamedTuple):
    """The part of a history that one call reads."""

    # The lowest id to read from; None: no entries.
    since: tuple[int, int] | None
    # The number of latest entries.
    latest: int = 0

    @classmethod
    def after(cls, *positions: str | None, latest: int = 0) -> Question:
        """Return the question for what follows the earliest of some positions."""
        ids = [found for one in positions if one and (found := id_of(one)) is not None]
        return cls(min(ids, default=None), latest)


def _messages(entries: Iterable[tuple[bytes, Sequence[bytes]]]) -> list[HistoryEntry]:
    """Return the messages among the entries of a stream."""
    return [found for entry in entries if (found := HistoryEntry.from_stream(entry)) is not None]


class HistoryStore:
    """The histories of a layer's groups.

    Args:
        head: Begins the names of the keys.
    """

    def __init__(self, head: str) -> None:
        self._head = head

    def keys(self, tag: str) -> tuple[str, str]:
        """Return the keys of a group's history, and of the position of its latest message.

        Args:
            tag: The name that decides on the slot in a Redis Cluster.
        """
        return f"{self._head}history{{{tag}}}", f"{self._head}position{{{tag}}}"

    async def append(
        self, tag: str, data: bytes, limits: Limits, commands: CommandClient, *publish: str
    ) -> tuple[str, str]:
        """Append a message; return its position, and that of the one before it.

        Args:
            tag: As for `keys`.
            data: The message.
            limits: How much is kept.
            commands: The connections to the group's shard.
            publish: The command and the topic to publish it with, if any.
        """
        keys = self.keys(tag)
        position_ttl = max(limits.ttl, POSITION_TTL)
        arguments: tuple[Argument, ...] = (*limits, position_ttl, _nonce(), data, *publish)
        command = scripts.APPEND.call(keys, *arguments)
        position, previous = await commands.execute(command, key=keys[0])
        return position.decode(), previous.decode()

    async def read(self, tag: str, question: Question, commands: CommandClient) -> Replay:
        """Read a group's history."""
        keys = self.keys(tag)
        since = "" if question.since is None else "{}-{}".format(*question.since)
        command = scripts.READ.call(keys, since, question.latest, _nonce(), POSITION_TTL)
        position, entries, latest = await commands.execute(command, key=keys[0], idempotent=True)
        found = _messages(entries)
        known = {entry.position: entry for entry in found}
        newest = [known.get(entry.position, entry) for entry in _messages(reversed(latest))]
        return Replay(position.decode(), found, newest)
