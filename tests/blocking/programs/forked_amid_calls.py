"""A process that forks while another thread takes a connection; the child only ends."""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys

from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

layer = make_layer()


def send() -> None:
    """Send from code without a loop."""
    async_to_sync(layer.group_send)("room", {"type": "hello"})


def main() -> None:
    """Fork in the moment in which a thread would have the lock of the connections."""
    send()
    pools = [each for each in gc.get_objects() if type(each) is queue.LifoQueue]
    for pool in pools:
        pool.mutex.acquire()
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        sys.exit(0)
    for pool in pools:
        pool.mutex.release()
    _, status = os.waitpid(pid, 0)
    say("child", os.waitstatus_to_exitcode(status))
    send()
    say("parent fine")


main()
