"""Decide who is present in a process: plain code without I/O.

A person is present in a process from the first channel that is tracked with the person's key until
`grace` seconds after the last one has ended. The metas of the last channel stay for that time.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Bytes of a message, which holds thousands of people with small metas; or of a write.
MAX_BYTES = 65_536
# Bytes of a change in a message, in addition to the key, which is there twice, and the metas.
CHANGE_BYTES = 30

Group: TypeAlias = str
Key: TypeAlias = str
# JSON.
Meta: TypeAlias = str
Item = TypeVar("Item")


@dataclass(slots=True)
class Person:
    """A person in a group, as far as this process knows."""

    # By channel. That of the last one stays once it has ended.
    by_channel: dict[str, Meta] = field(default_factory=dict)
    # When the person leaves; None as long as there is a channel.
    leaves_at: float | None = None
    has_left: bool = False
    # True to send a message even if the next write changes nothing in Redis.
    tell: bool = True

    @property
    def metas(self) -> list[Meta]:
        """The metas that Redis has to have; none if the person has left."""
        return [] if self.has_left else [*self.by_channel.values()]


class LocalPresence:
    """The people of one process in its groups, and which of them Redis might not have yet."""

    def __init__(self) -> None:
        self._people: dict[Group, dict[Key, Person]] = {}
        # The keys with which a channel is tracked in groups, and the seconds of grace.
        self._channels: dict[str, dict[Group, tuple[Key, float]]] = {}
        # When people leave. An entry counts if the person's own time is the same.
        self._leaving: list[tuple[float, Group, Key]] = []
        self._unwritten: dict[tuple[Group, Key], None] = {}

    def track(  # noqa: PLR0913, PLR0917 - those of `Presence.track`
        self, group: Group, channel: str, key: Key, meta: Meta, grace: float, now: float
    ) -> bool:
        """Make a channel one of a person's; return whether the person has to be written."""
        before, _ = self._channels.get(channel, {}).get(group, (key, grace))
        if before != key:
            self.untrack(group, channel, now)
        self._channels.setdefault(channel, {})[group] = key, grace
        person = self._people.setdefault(group, {}).setdefault(key, Person())
        if person.leaves_at is not None:
            # A connection within the grace is nothing new to others, unless its meta is.
            person.tell |= meta not in person.by_channel.values()
            person.by_channel, person.leaves_at, person.has_left = {}, None, False
        elif person.by_channel.get(channel) == meta:
            return False
        # Nor is one more connection.
        person.tell |= channel in person.by_channel
        person.by_channel[channel] = meta
        return True

    def untrack(self, group: Group, channel: str, now: float) -> None:
        """Take a channel from its person; if it is the last, the grace begins."""
        groups = self._channels.get(channel, {})
        key, grace = groups.pop(group, ("", 0.0))
        if not groups:
            self._channels.pop(channel, None)
        if not key:
            return
        person = self._people[group][key]
        if len(person.by_channel) > 1:
            del person.by_channel[channel]
            self._unwritten[group, key] = None
            return
        person.leaves_at = now + grace
        heapq.heappush(self._leaving, (person.leaves_at, group, key))

    def end(self, channel: str, now: float) -> bool:
        """Take a channel that has ended from all groups; return whether it was in any."""
        groups = list(self._channels.get(channel, ()))
        for group in groups:
            self.untrack(group, channel, now)
        return bool(groups)

    def channels(self) -> list[str]:
        """Return the channels that are tracked."""
        return list(self._channels)

    def groups(self) -> list[Group]:
        """Return the groups that have people in this process."""
        return list(self._people)

    def find(self, group: Group, key: Key) -> Person | None:
        """Return a person, if the process has one with that key."""
        return self._people.get(group, {}).get(key)

    @property
    def is_written(self) -> bool:
        """True if Redis has all people as they are, once writes that are under way have ended."""
        return not self._unwritten

    def next_change(self) -> float | None:
        """Return the time of the next change that `take_unwritten` returns; None for none."""
        if self._unwritten:
            return 0.0
        return self._leaving[0][0] if self._leaving else None

    def take_unwritten(self, now: float) -> dict[Group, list[Key]]:
        """Return the people that Redis may have otherwise."""
        while self._leaving and self._leaving[0][0] <= now:
            at, group, key = heapq.heappop(self._leaving)
            person = self.find(group, key)
            if person is not None and person.leaves_at == at:
                person.has_left = True
                self.mark(group, [key], tell=True)
        taken: dict[Group, list[Key]] = {}
        for group, key in self._unwritten:
            taken.setdefault(group, []).append(key)
        self._unwritten.clear()
        return taken

    def mark(self, group: Group, keys: Iterable[Key], *, tell: bool) -> None:
        """Have people written again, and others told if a write may have been lost."""
        for key in keys:
            if (person := self.find(group, key)) is not None:
                person.tell |= tell
                self._unwritten[group, key] = None

    def mark_all(self, *, tell: bool) -> None:
        """Have all people written again."""
        for group, people in self._people.items():
            self.mark(group, people, tell=tell)

    def begin_write(self, group: Group, keys: Iterable[Key]) -> None:
        """Note that people are being written as they are, and others told."""
        for key in keys:
            if (person := self.find(group, key)) is not None:
                person.tell = False

    def removed(self, group: Group, key: Key) -> None:
        """Forget a person who has left, also in Redis."""
        person = self.find(group, key)
        if person is not None and person.has_left:
            del self._people[group][key]
            if not self._people[group]:
                del self._people[group]


class Change(NamedTuple):
    """The latest change of a person in a group."""

    metas: list[Meta]
    # Its time in Redis.
    at: int
    joined: bool


class Diff(dict[Key, Change]):
    """The people who have joined a group or left it, by key."""

    def add(self, key: Key, change: Change) -> None:
        """Add a change of a person; only the latest counts."""
        known = self.get(key)
        if known is None or known.at <= change.at:
            self[key] = change

    def size(self, key: Key) -> int:
        """Return about how many bytes of a message a person takes."""
        return CHANGE_BYTES + 2 * len(key) + sum(map(len, self[key].metas))

    def message(self, group: Group, keys: Iterable[Key]) -> dict[str, Any]:
        """Return the message that tells members of the group of these people."""
        people: dict[bool, dict[Key, list[Any]]] = {True: {}, False: {}}
        for key in keys:
            people[self[key].joined][key] = [json.loads(meta) for meta in self[key].metas]
        return {
            "type": "presence.diff",
            "group": group,
            "joins": people[True],
            "leaves": people[False],
            "at": {key: self[key].at for key in keys},
        }


def batches(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Yield items in lists of up to 64 KiB, or of one that is larger.

    Args:
        items: The items.
        size: Returns the bytes of an item.
    """
    batch: list[Item] = []
    room = MAX_BYTES
    for item in items:
        room -= size(item)
        if batch and room < 0:
            yield batch
            batch, room = [], MAX_BYTES - size(item)
        batch.append(item)
    if batch:
        yield batch
