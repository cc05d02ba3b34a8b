"""Decide who is present in a process: plain code without I/O.

A person is present in a process from the first channel that is tracked with the person's key until
`grace` seconds after the last one has ended. The metas of the last channel stay for that time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Bytes of a message, which holds thousands of people with small metas; or of a write.
MAX_BYTES = 65_536
# Bytes of a change in a message, in addition to the key, which is there twice, and the metas.
CHANGE_BYTES = 30
# The same for a write: so it has a hundred people at most, and the server is not busy with it for
# long.
WRITE_BYTES = 640

Group: TypeAlias = str
Key: TypeAlias = str
# JSON.
Meta: TypeAlias = str
Item = TypeVar("Item")


@dataclass(slots=True)
class Person:
    """A person in a group, as far as one process knows."""

    # By channel. That of the last one stays once it has ended.
    by_channel: dict[str, Meta] = field(default_factory=dict)
    # Lets the person leave; None as long as there is a channel.
    timer: TimerHandle | None = None
    has_left: bool = False
    # True to send a message even if the next write changes nothing in Redis.
    announce: bool = True

    @property
    def metas(self) -> list[Meta]:
        """The metas that Redis has to have; none if the person has left."""
        return [] if self.has_left else [*self.by_channel.values()]


class LocalPresence:
    """The people of one process in its groups, and which of them Redis might not have yet.

    Args:
        call_later: Calls a function after some seconds.
        on_unwritten: Called when there is something to write.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], TimerHandle],
        on_unwritten: Callable[[], object],
    ) -> None:
        self._call_later = call_later
        self._on_unwritten = on_unwritten
        self._people: dict[Group, dict[Key, Person]] = {}
        # The keys with which a channel is tracked in groups, and the seconds of grace.
        self._channels: dict[str, dict[Group, tuple[Key, float]]] = {}
        # The people that Redis may have otherwise.
        self._unwritten: dict[Group, dict[Key, None]] = {}

    def track(self, group: Group, channel: str, key: Key, meta: Meta, grace: float) -> bool:
        """Make a channel one of a person's; return whether the person has to be written."""
        before, _ = self._channels.get(channel, {}).get(group, (key, grace))
        if before != key:
            self.untrack(group, channel)
        self._channels.setdefault(channel, {})[group] = key, grace
        person = self._people.setdefault(group, {}).setdefault(key, Person())
        if person.timer is not None:
            person.timer.cancel()
            # A connection within the grace is nothing new to others, unless its meta is.
            person.announce |= meta not in person.by_channel.values()
            person.by_channel, person.timer, person.has_left = {}, None, False
        elif person.by_channel.get(channel) == meta:
            return False
        # Nor is one more connection.
        person.announce |= channel in person.by_channel
        person.by_channel[channel] = meta
        return True

    def untrack(self, group: Group, channel: str) -> None:
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
            self.mark(group, [key])
        else:
            person.timer = self._call_later(grace, partial(self._leave, group, key))

    def end(self, channel: str) -> None:
        """Take a channel that has ended from all groups."""
        for group in list(self._channels.get(channel, ())):
            self.untrack(group, channel)

    def channels(self) -> list[str]:
        """Return the channels that are tracked."""
        return list(self._channels)

    def find(self, group: Group, key: Key) -> Person | None:
        """Return a person, if the process has one with that key."""
        return self._people.get(group, {}).get(key)

    def take_unwritten(self, most: int) -> dict[Group, list[Key]]:
        """Return the people that Redis may have otherwise, in some of the groups.

        Args:
            most: The number of groups.
        """
        groups = list(islice(self._unwritten, most))
        return {group: list(self._unwritten.pop(group)) for group in groups}

    def mark(self, group: Group, keys: Iterable[Key], *, announce: bool = False) -> None:
        """Have people written again, or removed who are not here.

        Args:
            group: The group.
            keys: Those of the people.
            announce: Announce them, too, as the reply to a write may have been lost.
        """
        for key in keys:
            if (person := self.find(group, key)) is not None:
                person.announce |= announce
            self._unwritten.setdefault(group, {})[key] = None
        self._on_unwritten()

    def mark_all(self) -> None:
        """Have all people written again."""
        for group, people in self._people.items():
            self.mark(group, people)

    def begin_write(self, group: Group, keys: Iterable[Key]) -> dict[Key, Person]:
        """Return people as they are now; they are being written and announced."""
        people = {}
        for key in keys:
            person = self.find(group, key) or Person(announce=False)
            people[key] = replace(person, by_channel={**person.by_channel})
            person.announce = False
        return people

    def removed(self, group: Group, key: Key) -> None:
        """Forget a person who has left, also in Redis."""
        person = self.find(group, key)
        if person is not None and person.has_left:
            del self._people[group][key]
            if not self._people[group]:
                del self._people[group]

    def _leave(self, group: Group, key: Key) -> None:
        self._people[group][key].has_left = True
        self.mark(group, [key], announce=True)


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
        """Return the message that announces these people to members of the group."""
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


def writes_of(people: Mapping[Key, Person]) -> Iterator[dict[Key, Person]]:
    """Yield people in parts that one write may hold."""
    for keys in batches(people, lambda key: WRITE_BYTES + sum(map(len, people[key].metas))):
        yield {key: people[key] for key in keys}
