"""Decide who is present in a process: plain code without I/O.

A person is present in a process from the first channel that is tracked with the person's key until
`grace` seconds after the last one has ended. The metas of the last channel stay for that time.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

# Bytes of a change in a message, beside the key, which is there twice, and the metas.
CHANGE_BYTES = 30

Group: TypeAlias = str
Key: TypeAlias = str
# JSON.
Meta: TypeAlias = str


class Tracked(Enum):
    """The effect of tracking a channel in its own process."""

    JOINED = auto()  # the person was not present in this process
    NEW_META = auto()  # others have to see the new meta of a person who was
    UNSEEN = auto()  # the person has one more connection, or is back within the grace
    UNCHANGED = auto()


@dataclass(slots=True)
class _Person:
    """A person in a group, as far as this process knows."""

    # By channel.
    metas: dict[str, Meta] = field(default_factory=dict)
    # Those of the last channel, while there is none.
    former: list[Meta] = field(default_factory=list)
    # When the person leaves; None as long as there is a channel.
    leaves_at: float | None = None


class LocalPresence:
    """The people of one process in its groups."""

    def __init__(self) -> None:
        self._people: dict[Group, dict[Key, _Person]] = {}
        # The keys with which a channel is tracked in groups, and the seconds of grace.
        self._channels: dict[str, dict[Group, tuple[Key, float]]] = {}
        # When people leave. An entry counts if the person's own time is the same.
        self._leaving: list[tuple[float, Group, Key]] = []
        # What has changed and is not written yet.
        self._changed: dict[tuple[Group, Key], None] = {}

    def track(  # noqa: PLR0913, PLR0917 - those of `Presence.track`
        self, group: Group, channel: str, key: Key, meta: Meta, grace: float, now: float
    ) -> Tracked:
        """Make a channel one of a person's. All but `UNCHANGED` has to be written."""
        before, _ = self._channels.get(channel, {}).get(group, (key, grace))
        if before != key:
            self.untrack(group, channel, now)
        self._channels.setdefault(channel, {})[group] = key, grace
        people = self._people.setdefault(group, {})
        person = people.get(key)
        if person is None:
            people[key] = _Person({channel: meta})
            return Tracked.JOINED
        if person.metas.get(channel) == meta:
            return Tracked.UNCHANGED
        is_new = channel in person.metas or (bool(person.former) and meta not in person.former)
        person.metas[channel] = meta
        person.former = []
        person.leaves_at = None
        return Tracked.NEW_META if is_new else Tracked.UNSEEN

    def untrack(self, group: Group, channel: str, now: float) -> None:
        """Take a channel from its person; if it is the last, the grace begins."""
        groups = self._channels.get(channel, {})
        key, grace = groups.pop(group, ("", 0.0))
        if not groups:
            self._channels.pop(channel, None)
        if not key:
            return
        person = self._people[group][key]
        meta = person.metas.pop(channel)
        if person.metas:
            self._changed[group, key] = None
            return
        person.former = [meta]
        person.leaves_at = now + grace
        heapq.heappush(self._leaving, (person.leaves_at, group, key))

    def end(self, channel: str, now: float) -> None:
        """Take a channel that has ended from all groups."""
        for group in list(self._channels.get(channel, ())):
            self.untrack(group, channel, now)

    def has(self, channel: str) -> bool:
        """Return whether a channel is tracked in any group."""
        return channel in self._channels

    def channels(self) -> list[str]:
        """Return the channels that are tracked."""
        return list(self._channels)

    def next_change(self) -> float | None:
        """Return the time of the next change that `take_changes` returns; None if there is none."""
        if self._changed:
            return 0.0
        return self._leaving[0][0] if self._leaving else None

    def take_changes(self, now: float) -> dict[Group, dict[Key, list[Meta]]]:
        """Return the people whose channels have ended, and what metas each had.

        People with a channel left are still present; the others have left.
        """
        changes: dict[Group, dict[Key, list[Meta]]] = {}
        for group, key in self._changed:
            changes.setdefault(group, {})[key] = self.metas(group, key)
        self._changed.clear()
        while self._leaving and self._leaving[0][0] <= now:
            at, group, key = heapq.heappop(self._leaving)
            person = self._people.get(group, {}).get(key)
            if person is not None and person.leaves_at == at:
                changes.setdefault(group, {})[key] = person.former
                del self._people[group][key]
                if not self._people[group]:
                    del self._people[group]
        return changes

    def groups(self) -> list[Group]:
        """Return the groups that have people in this process."""
        return list(self._people)

    def people(self, group: Group) -> list[Key]:
        """Return the people of this process in a group."""
        return list(self._people.get(group, ()))

    def metas(self, group: Group, key: Key) -> list[Meta]:
        """Return the metas of a person in this process; none if the person is not present."""
        person = self._people.get(group, {}).get(key)
        return [] if person is None else [*person.metas.values()] or person.former


@dataclass(slots=True)
class Diff:
    """The people who joined a group and who left it, each with metas and the time of the change."""

    joins: dict[Key, tuple[list[Meta], int]] = field(default_factory=dict)
    leaves: dict[Key, tuple[list[Meta], int]] = field(default_factory=dict)

    def add(self, key: Key, metas: list[Meta], at: int, *, joined: bool) -> None:
        """Add a change of a person; only the latest counts."""
        for known in (self.joins, self.leaves):
            if key in known:
                if known[key][1] > at:
                    return
                del known[key]
        (self.joins if joined else self.leaves)[key] = metas, at

    def take(self, size: int) -> Diff:
        """Remove changes of up to `size` bytes, or one that is larger, and return them."""
        part = Diff()
        for source, target in ((self.joins, part.joins), (self.leaves, part.leaves)):
            for key, (metas, _) in list(source.items()):
                size -= CHANGE_BYTES + 2 * len(key) + sum(map(len, metas))
                if size < 0 and len(part):
                    return part
                target[key] = source.pop(key)
        return part

    def put_back(self, part: Diff) -> None:
        """Add changes that `take` returned."""
        for changes, joined in ((part.joins, True), (part.leaves, False)):
            for key, (metas, at) in changes.items():
                self.add(key, metas, at, joined=joined)

    def __len__(self) -> int:
        """Return the number of changes."""
        return len(self.joins) + len(self.leaves)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


# Browsers read neither NaN nor Infinity.
_STRICT = json.JSONDecoder(parse_constant=_refuse)


def metas_in(data: bytes) -> list[Any]:
    """Return the metas of a person in Redis; none if the data can't be read."""
    try:
        metas = _STRICT.decode(data.decode())
    except (ValueError, RecursionError):
        return []
    return metas if isinstance(metas, list) else []


def fields_of(reply: Any) -> Iterable[tuple[bytes, bytes]]:
    """Return the fields of a hash and their values, as protocol 2 or 3 replies them."""
    if isinstance(reply, dict):
        return reply.items()
    return zip(reply[::2], reply[1::2], strict=True)
