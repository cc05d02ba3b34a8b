"""1,000 synchronous sends from 1 or 16 threads, to a consumer in this process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import defaultdict

import redis
from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

CALLS = 992  # divides by 16


def main(threads: int) -> None:
    """Send from threads while a loop in another thread receives."""
    layer = make_layer()
    joined, done = threading.Event(), threading.Event()
    got: dict[int, list[int]] = defaultdict(list)

    async def consume() -> None:
        channel = await layer.new_channel()
        receiving = asyncio.ensure_future(layer.receive(channel))
        await layer.group_add("room", channel)
        joined.set()
        for _ in range(CALLS):
            message = await receiving
            got[message["caller"]].append(message["number"])
            receiving = asyncio.ensure_future(layer.receive(channel))
        receiving.cancel()
        done.set()

    consumer = threading.Thread(target=lambda: asyncio.run(consume()))
    consumer.start()
    joined.wait(20)
    with redis.Redis.from_url(sys.argv[2]) as client:
        before = client.info("stats")["total_connections_received"]

        def call(caller: int) -> None:
            for number in range(CALLS // threads):
                message = {"type": "chat", "caller": caller, "number": number}
                async_to_sync(layer.group_send)("room", message)

        callers = [threading.Thread(target=call, args=(caller,)) for caller in range(threads)]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
        say("connections", client.info("stats")["total_connections_received"] - before)
    done.wait(20)
    consumer.join()
    say("received", sum(map(len, got.values())))
    say("in order", all(numbers == sorted(numbers) for numbers in got.values()))


main(int(sys.argv[3]))
