"""A program that uses a layer and then forks, ends, or runs out of descriptors.

Its arguments are the layer's class, the address of a server, and how it goes on.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
import warnings
from functools import partial
from importlib import import_module
from typing import Any

import redis
from asgiref.sync import async_to_sync

CLASS, ADDRESS, HOW = sys.argv[1:]
CHILDREN = 4
FILES = 64
HELLO = {"type": "hello"}


def say(*what: object) -> None:
    """Print a line for the test to read."""
    sys.stdout.write(" ".join(map(str, what)) + "\n")
    sys.stdout.flush()


def say_goodbye() -> None:
    """Send when the interpreter is at its exit, after all that was registered later has run."""
    if HOW == "goodbye":
        asyncio.run(layer.group_send("room", HELLO))
        say("said goodbye")


atexit.register(say_goodbye)
module, _, name = CLASS.rpartition(".")
is_short = HOW in {"no descriptors", "server silent"}
short = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5} if is_short else {}
layer = getattr(import_module(module), name)(
    hosts=[{"address": ADDRESS, **short}], capacity=100_000
)
done = threading.Event()
# Loops that might run again, and their tasks.
kept: list[object] = []
# Python 3.12 warns of every fork next to a thread.
warnings.filterwarnings("ignore", "This process", DeprecationWarning)


def send() -> None:
    """Send from code without a loop."""
    async_to_sync(layer.group_send)("room", HELLO)


async def consumers() -> list[asyncio.Task[Any]]:
    """Start consumers that wait, and let one have received something."""
    channels = [await layer.new_channel() for _ in range(5)]
    tasks = [asyncio.create_task(layer.receive(channel)) for channel in channels]
    await layer.group_add("room", channels[0])
    await layer.group_send("room", HELLO)
    await tasks[0]
    return tasks[1:]


def leave_waiting() -> None:
    """End a loop while consumers wait, as a server that is stopped does; then use none."""
    asyncio.run(consumers())
    send()


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


def stop_loop() -> None:
    """Stop a loop with consumers that wait, one of them in a group; it might run again."""
    loop = asyncio.new_event_loop()
    kept.append((loop, loop.run_until_complete(consumers())))


def no_loop() -> None:
    """Join a group without a loop."""
    async_to_sync(layer.group_add)("room", async_to_sync(layer.new_channel)())


def server_silent() -> None:
    """End while the server does not answer any more, as if its host had died."""
    stop_loop()
    with redis.Redis.from_url(ADDRESS) as client:
        os.kill(client.info("server")["process_id"], signal.SIGSTOP)


def no_descriptors() -> None:
    """Send while the process may open no file, and when it may again."""
    # Python complains of an event loop that it could not make.
    sys.unraisablehook = lambda _: None
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    async def without() -> None:
        # All are taken after the loop has its own, before a connection has.
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        try:
            await layer.group_send("room", HELLO)
        finally:
            for descriptor in taken:
                os.close(descriptor)

    try:
        asyncio.run(without())
    except redis.ConnectionError:
        say("no connection")
    send()


async def round_trip(number: int) -> None:
    """Send a message to a channel of this process, and receive it."""
    channel = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(channel))
    await layer.group_add(f"room{number}", channel)
    await layer.group_send(f"room{number}", {**HELLO, "number": number})
    assert (await receiving)["number"] == number


def both_ways(number: int) -> None:
    """Use the layer from a loop of its own, and synchronously."""
    asyncio.run(round_trip(number))
    send()


def send_much() -> None:
    """Send until the forks are done."""
    while not done.is_set():
        send()


def child(number: int) -> None:
    """Work as a forked worker, and end."""
    signal.alarm(30)
    if HOW == "amid calls":
        for _ in range(5):
            send()
    else:
        both_ways(number)
    if HOW == "exit":
        sys.exit(0)
    os._exit(0)


def fork() -> None:
    """Fork several times, and use the layer before and after each, or in other threads meanwhile.

    uWSGI forks in C, so that Python's hooks do not run.
    """
    threads = [threading.Thread(target=send_much) for _ in range(2 * (HOW == "amid calls"))]
    for thread in threads:
        thread.start()
    use = send if threads else partial(both_ways, 0)
    use()
    fork_once = ctypes.PyDLL(None).fork if HOW == "in C" else os.fork
    for number in range(1, CHILDREN + 1):
        pid = fork_once()
        if not pid:
            child(number)
        _, status = os.waitpid(pid, 0)
        say("child", os.waitstatus_to_exitcode(status))
        use()
    done.set()
    for thread in threads:
        thread.join()


WAYS = {
    "loop, then none": leave_waiting,
    "bare loop": bare_loop,
    "stopped loop": stop_loop,
    "no loop": no_loop,
    "server silent": server_silent,
    "goodbye": send,
    "no descriptors": no_descriptors,
}
WAYS.get(HOW, fork)()
say("ended")
