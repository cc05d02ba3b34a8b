"""A pool of forked workers, as Celery's: the parent has used the layer, each task sends."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings

import redis
from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

WORKERS = 3
TASKS = 30
layer = make_layer()
# Python 3.12 warns of every fork beside a thread.
warnings.filterwarnings("ignore", "This process", DeprecationWarning)


def task(number: int) -> int:
    """Send to a group, and tell which worker did."""
    async_to_sync(layer.group_send)("room", {"type": "hello", "number": number})
    return os.getpid()


def main() -> None:
    """Run tasks in a pool, and count the connections that they opened."""
    task(-1)
    with redis.Redis.from_url(sys.argv[2]) as client:
        before = client.info("stats")["total_connections_received"]
        pool = multiprocessing.get_context("fork").Pool(WORKERS)
        workers = set(pool.map(task, range(TASKS), chunksize=1))
        pool.close()
        pool.join()
        opened = client.info("stats")["total_connections_received"] - before
        say("at most one connection a worker", opened <= len(workers))
    task(TASKS)
    say("parent fine")


main()
