"""The cache of groups: any sequence of look-ups with small limits."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgpack import packb, unpackb

from channels_redis_queue.keys import Keys, non_local
from channels_redis_queue.protocol import group_cache
from channels_redis_queue.protocol.group_cache import GroupCache

OPTIMISTIC, REMEMBERED = 60, 8
DESTINATIONS = 5
groups = st.sampled_from(["one", "two", "three"])
NAMES = [f"a.{number}!{letter}" for number in range(8) for letter in "xyz"]
names = st.lists(st.sampled_from([*NAMES, "jobs", "mails", "mails\n"]), max_size=14, unique=True)


class Cache(RuleBasedStateMachine):
    """The cache of a layer that sends to three groups."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(group_cache, "MAX_OPTIMISTIC_BYTES", OPTIMISTIC)
        self.patch.setattr(group_cache, "MAX_DESTINATIONS", REMEMBERED)
        self.patch.setattr(group_cache, "MAX_COALESCED", DESTINATIONS)
        self.cache = GroupCache(Keys("asgi"), len)
        # What the server said last of each group.
        self.seen: dict[str, bytes] = {}
        self.next_liveness_check: dict[str, float] = {}

    @rule(group=groups, names=names)
    def change(self, group: str, names: list[str]) -> None:
        """Look a group up that may have changed."""
        self.update(group, packb(names))

    @rule(group=groups)
    def stay(self, group: str) -> None:
        """Look a group up that has not changed."""
        self.update(group, self.seen.get(group, packb([])))

    def update(self, group: str, listed: bytes) -> None:
        """Look a group up; check what is said of it."""
        known = self.cache.get(group)
        snapshot = self.cache.update(group, listed)
        self.seen[group] = listed
        names = unpackb(listed)
        for destination in snapshot.destinations:
            at_address = [name for name in names if non_local(name) == destination.address]
            assert destination.names == at_address
            assert destination.capacity == len(at_address[0])
            assert destination.key == f"asgi{destination.address}"
        addresses = [destination.address for destination in snapshot.destinations]
        assert addresses == list(dict.fromkeys(map(non_local, names)))
        for size in (0, OPTIMISTIC // 2, OPTIMISTIC):
            fits = len(listed) + size <= OPTIMISTIC and len(addresses) <= DESTINATIONS
            assert snapshot.may_send_optimistically(size) == fits
        assert (self.cache.get(group) is snapshot) == (bool(names) and len(listed) <= OPTIMISTIC)
        # A group that changes all the time is examined for dead processes as often as any other.
        if known is not None:
            assert snapshot.next_liveness_check == self.next_liveness_check[group]
        self.next_liveness_check[group] = snapshot.next_liveness_check

    @invariant()
    def nothing_old_and_not_too_much(self) -> None:
        """A group is remembered as it was seen last; and only so many are."""
        found = [self.cache.get(group) for group in self.seen]
        for known, listed in zip(found, self.seen.values(), strict=True):
            assert known is None or known.names == listed
        sizes = [len(known.destinations) for known in found if known is not None]
        assert sum(sizes) <= REMEMBERED or len(sizes) == 1

    def teardown(self) -> None:
        """Put the limits back."""
        self.patch.undo()


TestCache = Cache.TestCase
