"""The destinations of a group message, and optimistic sends."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from channels_redis_queue.keys import Keys
from channels_redis_queue.protocol import group_cache
from channels_redis_queue.protocol.group_cache import GroupCache


def known(capacity: int = 7) -> GroupCache:
    """Return what a process knows that has sent nothing yet."""
    return GroupCache(Keys("asgi"), lambda _: capacity)


def names(count: int, process: str = "1") -> bytes:
    """Return a group of members of one process, as the server lists them."""
    return b" ".join(b"a.%s!%032d" % (process.encode(), number) for number in range(count))


def test_what_is_remembered_is_bounded() -> None:
    """Neither very large groups are kept, nor very many."""
    groups = known()
    groups.update("huge", names(10_000))
    assert groups.get("huge") is None
    groups.update("workers", b" ".join(b"%d" % number for number in range(40_000)))
    assert groups.get("workers") is None
    for number in range(500):
        groups.update(f"room-{number}", names(1000))
        assert sum(one.size for one in groups._snapshots.values()) <= group_cache.MAX_CACHE_BYTES
    assert groups.get("room-499") is not None
    assert groups.get("room-0") is None
    groups.update("room-499", b"")
    assert groups.get("room-499") is None


def test_threads_that_send_to_one_group() -> None:
    """Event loops in several threads update the cache at once."""
    groups = known()
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            states = [names(1000), b"", names(2), names(9_000)] * 50
            list(threads.map(lambda state: groups.update("room", state), states))
    finally:
        sys.setswitchinterval(switching)
    assert groups._size == sum(one.size for one in groups._snapshots.values())
