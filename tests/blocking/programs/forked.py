"""A layer that is used, then forked: parent and children continue with their own connections."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import warnings
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

CHILDREN = 4
layer = make_layer()
done = threading.Event()
# Python 3.12 warns of every fork next to a thread.
warnings.filterwarnings("ignore", "This process", DeprecationWarning)


async def round_trip(number: int) -> int:
    """Send a message to a channel of this process, and return what arrives."""
    channel = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(channel))
    await layer.group_add(f"room{number}", channel)
    await layer.group_send(f"room{number}", {"type": "hello", "number": number})
    message: dict[str, Any] = await receiving
    return int(message["number"])


def send() -> None:
    """Send from code without a loop."""
    async_to_sync(layer.group_send)("empty", {"type": "hello"})


def send_much() -> None:
    """Send until the forks are done."""
    while not done.is_set():
        send()


def both_ways(number: int) -> None:
    """Use the layer from a loop of its own, and synchronously."""
    assert asyncio.run(round_trip(number)) == number
    send()


def child(number: int, how: str) -> None:
    """Work as a forked worker, and end as `how` says."""
    signal.alarm(30)
    if how == "amid calls":
        for _ in range(5):
            send()
    else:
        both_ways(number)
    if how == "exit":
        sys.exit(0)
    os._exit(0)


def main(how: str) -> None:
    """Fork several times, and use the layer before and after each, or in other threads meanwhile.

    uWSGI forks in C, so that Python's hooks do not run.
    """
    threads = [threading.Thread(target=send_much) for _ in range(2 * (how == "amid calls"))]
    for thread in threads:
        thread.start()
    use = send if threads else partial(both_ways, 0)
    use()
    fork = ctypes.PyDLL(None).fork if how == "in C" else os.fork
    for number in range(1, CHILDREN + 1):
        pid = fork()
        if not pid:
            child(number, how)
        _, status = os.waitpid(pid, 0)
        say("child", os.waitstatus_to_exitcode(status))
        use()
    done.set()
    for thread in threads:
        thread.join()
    say("parent fine")


main(sys.argv[3])
