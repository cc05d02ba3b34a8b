"""Work whose group members live in other processes."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from benchmarks.workloads import GROUP, MESSAGE

if TYPE_CHECKING:
    import redis

    from benchmarks.measuring import Bench


def simulate_members(server: redis.Redis, processes: int, members: int) -> None:
    """Write the group as it looks when channels_redis processes joined their channels to it.

    The 32 digits of a process are a uuid4, as channels_redis makes them. Their inboxes are
    emptied, since they are unread.
    """
    names = [
        f"specific.{process}!{uuid.uuid4().hex}"
        for process in (uuid.uuid4().hex for _ in range(processes))
        for _ in range(members)
    ]
    server.flushdb()
    server.zadd(f"asgi:group:{GROUP}", dict.fromkeys(names, time.time()))


async def group_send_to_other_processes(bench: Bench) -> None:
    """`group_send` alone, to 100 other processes with 10 plainly named members each."""

    async def empty_inboxes() -> None:
        simulate_members(bench.server, processes=100, members=10)

    async def one_pass() -> None:
        for _ in range(20):
            await bench.layer.group_send(GROUP, MESSAGE)

    await bench.measure(one_pass, before=empty_inboxes, operations=20)
