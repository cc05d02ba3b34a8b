"""Synchronous sends in a process that gevent has patched, as Celery's gevent pool does."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402
from asgiref.sync import async_to_sync  # noqa: E402
from gevent.lock import BoundedSemaphore  # noqa: E402

from blocking.programs.setting import make_layer, say  # noqa: E402

MESSAGES = 20
GREENLETS = 10
layer = make_layer()
# asgiref's limit: while one greenlet is in async_to_sync, another of its thread can't be, with
# whatever coroutine.
one_at_a_time = BoundedSemaphore(1)


def call(number: int) -> None:
    """Send to a group, as a task does."""
    with one_at_a_time:
        async_to_sync(layer.group_send)("room", {"type": "hello", "number": number})


def main() -> None:
    """Send serially, then from greenlets, and count connections."""
    with redis.Redis.from_url(sys.argv[2]) as client:
        before = client.info("stats")["total_connections_received"]
        for number in range(MESSAGES):
            call(number)
        greenlets = [gevent.spawn(call, number) for number in range(GREENLETS)]
        gevent.joinall(greenlets, timeout=20, raise_error=True)
        say("connections", client.info("stats")["total_connections_received"] - before)


main()
