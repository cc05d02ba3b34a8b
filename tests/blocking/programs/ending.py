"""A program that ends while its layer is in use, in several ways."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

if TYPE_CHECKING:
    from collections.abc import Callable


def say_goodbye() -> None:
    """Send when the interpreter is at its exit, after all that was registered later has run."""
    if sys.argv[3] == "goodbye":
        asyncio.run(layer.group_send("room", {"type": "goodbye"}))
        say("said goodbye")


atexit.register(say_goodbye)
layer = make_layer()


async def consumers() -> list[asyncio.Task[Any]]:
    """Start consumers that wait, and let one have received something."""
    channels = [await layer.new_channel() for _ in range(5)]
    tasks = [asyncio.create_task(layer.receive(channel)) for channel in channels]
    await layer.group_add("room", channels[0])
    await layer.group_send("room", {"type": "hello"})
    await tasks[0]
    return tasks[1:]


async def leave_waiting() -> None:
    """Return while consumers wait, as a server that is stopped does."""
    await consumers()


def bare_loop() -> None:
    """Close a loop without finalising its asynchronous generators."""
    loop = asyncio.new_event_loop()

    async def use() -> None:
        for task in await consumers():
            task.cancel()
        await asyncio.sleep(0)
        await layer.close_pools()

    loop.run_until_complete(use())
    loop.close()


def stop_server() -> None:
    """Stop the server, as if its host had died."""
    os.kill(int(sys.argv[4]), signal.SIGSTOP)


def synchronous() -> None:
    """Send from code without a loop."""
    async_to_sync(layer.group_send)("room", {"type": "hello"})


def both() -> None:
    """Use a loop, and then none."""
    asyncio.run(leave_waiting())
    synchronous()


def server_silent() -> None:
    """End while the server does not answer any more."""
    synchronous()
    stop_server()


WAYS: dict[str, Callable[[], None]] = {
    "both": both,
    "bare loop": bare_loop,
    "server silent": server_silent,
    "goodbye": synchronous,
}
WAYS[sys.argv[3]]()
say("ended")
