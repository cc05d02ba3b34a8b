"""The histories of groups in Redis: positions, entries, and what a read returns.

A position is `<id>.<nonce>`: the id that Redis gave to the entry, and 32 random bits of the sender.
After a failover an id may come twice, as the clock of the promoted replica may be behind; then the
nonces differ.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from . import scripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..transport.commands import Argument, CommandClient
    from .rules import Limits

_POSITION = re.compile(r"(\d{1,20})-(\d{1,20})\.[0-9a-f]{8}", re.ASCII)
_HIGHEST = 2**64 - 1
# Seconds that the position of a group's latest message lives, if its messages live shorter: then a
# group that was silent for longer than its `ttl` has lost nothing.
POSITION_TTL = 86_400
# Begins what is published to a topic with a position. No serializer begins a message with it: in
# MessagePack the byte is never used, and in UTF-8 and base64 it can't be the first.
MARK = b"\xc1"
# The fields of an entry in a stream: the nonce, the position of the one before it, and the message.
_FIELDS = (b"n", b"p", b"m")


def id_of(position: str) -> tuple[int, int] | None:
    """Return the id in a position, as two numbers that can be compared; None if it is none."""
    found = _POSITION.fullmatch(position)
    if found is None:
        return None
    milliseconds, number = int(found[1]), int(found[2])
    return (milliseconds, number) if max(milliseconds, number) <= _HIGHEST else None


def is_after(position: str, other: str) -> bool:
    """Return whether the id of a position is higher than that of another."""
    return (id_of(position) or (0, 0)) > (id_of(other) or (0, 0))


class HistoryEntry:
    """A message in the history of a group.

    Attributes:
        position: Its position.
        previous: The position of the message before it; empty if there was none, or if what stands
            there is no position.
        data: The message as bytes.
        decoded: The message, once it was decoded.
    """

    __slots__ = ("data", "decoded", "position", "previous")

    def __init__(self, position: str, previous: str, data: bytes) -> None:
        self.position = position
        # It may become the place of a channel that joins, and any program may have written it.
        self.previous = "" if previous and id_of(previous) is None else previous
        self.data = data
        self.decoded: Any = None

    @classmethod
    def from_wire(cls, data: bytes) -> HistoryEntry:
        """Return an entry as `append.lua` published it.

        Raises:
            ValueError: The data is not an entry.
        """
        head, _, message = data.partition(b"\n")
        position, _, previous = head[len(MARK) :].decode().partition(" ")
        if id_of(position) is None:
            raise ValueError("it has no position")
        return cls(position, previous, message)

    @classmethod
    def from_stream(cls, entry: tuple[bytes, Sequence[bytes]]) -> HistoryEntry | None:
        """Return an entry as `append.lua` wrote it into a stream; None if another program did."""
        entry_id, fields = entry
        if len(fields) != 2 * len(_FIELDS) or tuple(fields[::2]) != _FIELDS:
            return None
        nonce, previous, data = fields[1::2]
        position = f"{entry_id.decode()}.{nonce.decode(errors='replace')}"
        if id_of(position) is None:
            return None
        return cls(position, previous.decode(errors="replace"), data)


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


class Replay:
    """The result of a read of a group's history.

    Args:
        position: The position of the group's latest message.
        entries: The entries from the requested id on.
        latest: The latest entries, if they were requested.
    """

    def __init__(
        self,
        position: str,
        entries: Sequence[HistoryEntry] = (),
        latest: Sequence[HistoryEntry] = (),
    ) -> None:
        # If the last entry has another one, a program that is no layer wrote or removed something.
        # Then the later counts, so that members get nothing again.
        is_old = bool(entries) and is_after(entries[-1].position, position)
        self.position = entries[-1].position if is_old else position
        self.entries = entries
        self.latest = latest
        # The number of entries up to each position after which none is missing: the latest message
        # is there, and each of them names the one before it.
        self._ends: dict[str, int] = {}
        expected = position
        for end in range(len(entries), 0, -1):
            if entries[end - 1].position != expected:
                break
            self._ends[expected] = end
            expected = entries[end - 1].previous
        else:
            self._ends.setdefault(expected, 0)
        if not is_old:
            # Also if the latest message itself was removed: a channel that has it misses nothing.
            self._ends.setdefault(position, len(entries))

    def __contains__(self, position: object) -> bool:
        """Return whether it has all that follows a position."""
        return bool(position) and position in self._ends

    def after(self, *positions: str) -> Sequence[HistoryEntry] | None:
        """Return what follows the first of some positions after which none is missing, or None."""
        found = next((one for one in positions if one in self), None)
        return None if found is None else self.entries[self._ends[found] :]

    def extended(self, arrived: Sequence[HistoryEntry]) -> Replay:
        """Return this with the messages that follow it among some that have arrived."""
        by_previous = {entry.previous: entry for entry in arrived}
        later: list[HistoryEntry] = []
        position = self.position
        while (entry := by_previous.pop(position, None)) is not None:
            later.append(entry)
            position = entry.position
        if not later:
            return self
        return Replay(position, [*self.entries, *later], [*self.latest, *later])


def _nonce() -> str:
    return os.urandom(4).hex()


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
