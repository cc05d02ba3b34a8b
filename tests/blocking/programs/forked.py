"""A process that forks, mostly while its threads send; each child sends over one connection."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
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


def main(how: str) -> None:
    """Fork children, which end as `how` says."""
    # uWSGI forks in C, so that Python's hooks do not run, and before its threads start.
    is_in_c = how == "in C"
    fork = ctypes.PyDLL(None).fork if is_in_c else os.fork
    threads = [threading.Thread(target=send_much) for _ in range(0 if is_in_c else 2)]
    for thread in threads:
        thread.start()
    send()
    for _ in range(CHILDREN):
        pid = fork()
        if not pid:
            signal.alarm(20)
            for _ in range(20):
                send()
            if how == "exit":
                sys.exit(0)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        say("child", os.waitstatus_to_exitcode(status))
        send()
    done.set()
    for thread in threads:
        thread.join()
    say("parent fine")


main(sys.argv[3])
