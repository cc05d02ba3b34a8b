"""A process that forks while its threads send; the children send, too, over one connection each."""

from __future__ import annotations

import os
import signal
import threading
import warnings

from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

CHILDREN = 5
layer = make_layer()
done = threading.Event()
# Python 3.12 warns of every fork next to a thread.
warnings.filterwarnings("ignore", "This process", DeprecationWarning)


def send() -> None:
    """Send from code without a loop."""
    async_to_sync(layer.group_send)("room", {"type": "hello"})


def send_much() -> None:
    """Send until the forks are done."""
    while not done.is_set():
        send()


def main() -> None:
    """Fork amid the calls of two threads."""
    threads = [threading.Thread(target=send_much) for _ in range(2)]
    for thread in threads:
        thread.start()
    send()
    for _ in range(CHILDREN):
        pid = os.fork()
        if not pid:
            signal.alarm(20)
            for _ in range(5):
                send()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        say("child", os.waitstatus_to_exitcode(status))
    done.set()
    for thread in threads:
        thread.join()
    say("parent fine")


main()
