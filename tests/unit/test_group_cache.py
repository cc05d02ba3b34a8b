"""The cache of groups, which threads share; the state machine has all else."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from channels_redis_queue.keys import Keys
from channels_redis_queue.protocol.group_cache import GroupCache


def names(count: int) -> bytes:
    """Return a group of members of one process, as the server lists them."""
    return b" ".join(b"a.1!%032d" % number for number in range(count))


def test_threads_that_send_to_one_group() -> None:
    """Event loops in several threads update the cache at once."""
    groups = GroupCache(Keys("asgi"), lambda _: 7)
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            states = [names(1000), b"", names(2), names(9_000)] * 50
            list(threads.map(lambda state: groups.update("room", state), states))
    finally:
        sys.setswitchinterval(switching)
    assert groups._size == sum(one.size for one in groups._snapshots.values())
