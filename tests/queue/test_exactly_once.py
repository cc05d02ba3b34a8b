"""A message reaches one receiver, once: many processes, cancelled receivers, layers that go."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING

from support import inside
from support.messages import cancel, numbered, take_elsewhere, take_numbers, within
from support.queue_layers import Layers, beside, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer


async def test_layers_come_and_go(layers: Layers) -> None:
    """Layers that receive, are cancelled, and close: they lose nothing, and keep no claims."""
    layers.options["capacity"] = 1000
    sender = layers()
    numbers: list[int] = []

    async def send() -> None:
        for message in numbered(120):
            await sender.send("jobs", message)
            await asyncio.sleep(random.uniform(0, 0.01))

    async def come_and_go() -> None:
        while not sending.done():
            layer = layers()
            receivers = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
            await asyncio.wait(receivers, timeout=random.uniform(0, 0.03))
            for receiver in receivers:
                receiver.cancel()
            results = await asyncio.gather(*receivers, return_exceptions=True)
            numbers.extend(result["number"] for result in results if isinstance(result, dict))
            await within(layer.close_pools())

    sending = asyncio.create_task(send())
    await within(asyncio.gather(sending, come_and_go(), come_and_go()))
    with layers.server.client() as client:
        assert client.keys(f"{sender.prefix}$claims*") == []
    numbers += await take_numbers(layers(), "jobs", 120 - len(numbers))
    assert sorted(numbers) == list(range(120))


async def test_messages_that_expire_while_the_loop_is_busy(layers: Layers) -> None:
    """They are dropped when the loop finally reads them, though the server sent them in time."""
    layer, sender = layers(expiry=2), layers()
    channels = ["jobs", await layer.new_channel()]

    async def send(number: int) -> None:
        for channel in channels:
            await within(sender.send(channel, {"number": number}))

    await send(0)
    for channel in channels:
        assert await take_numbers(layer, channel, 1) == [0]
    receiving = [await waiting(layer, channel) for channel in channels]
    thread = threading.Thread(target=asyncio.run, args=(send(1),))
    thread.start()
    # This holds the event loop.
    thread.join()
    time.sleep(layer.expiry + 1)  # noqa: ASYNC251
    await eventually(lambda: layer.statistics().dropped.expired == 2)
    await send(2)
    assert await within(asyncio.gather(*receiving)) == [{"number": 2}] * 2


async def test_prefetched_messages_that_expire(layers: Layers) -> None:
    """A message that a worker has prefetched and asks for too late is dropped, and counted."""
    layer, sender = layers(expiry=1), layers()
    await asyncio.gather(*(sender.send("jobs", message) for message in numbered(50)))
    while not (ahead := inside.prefetched(layer, "jobs") if layer.statistics().received else 0):
        await take_numbers(layer, "jobs", 1)
    with layers.server.client() as client:
        client.delete(beside(layer, "jobs").key)
    time.sleep(layer.expiry + 1)  # noqa: ASYNC251 - it holds the event loop
    receiving = asyncio.create_task(layer.receive("jobs"))
    await sender.send("jobs", {"number": 50})
    assert await within(receiving) == {"number": 50}
    assert layer.statistics().dropped.expired == ahead


async def test_pollers(layers: Layers) -> None:
    """Several that receive with a deadline of milliseconds: no message lies until a wait ends."""
    layer, sender = layers(), layers()
    seconds: list[float] = []

    async def poll() -> None:
        while True:
            try:
                message = await asyncio.wait_for(
                    layer.receive("jobs"), random.uniform(0.002, 0.006)
                )
            except asyncio.TimeoutError:
                continue
            seconds.append(time.monotonic() - message["sent"])

    pollers = [asyncio.create_task(poll()) for _ in range(8)]
    for number in range(1, 301):
        await within(sender.send("jobs", {"sent": time.monotonic()}))
        await eventually(lambda count=number: len(seconds) == count)  # type: ignore[misc]
    assert max(seconds) < 4  # a wait that times out takes 5 s
    await cancel(*pollers)


async def test_receivers_that_wait_on_two_hosts(
    layers: Layers, redis_shards: tuple[EmbeddedServer, ...]
) -> None:
    """Messages that arrive from all shards at once are no overflow, however small the capacity."""
    hosts = [server.url for server in redis_shards[:2]]
    layer, sender = (layers(hosts=hosts, capacity=1) for _ in range(2))
    for start in range(0, 100, 2):
        receivers = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
        await take_elsewhere(layer)
        await asyncio.gather(*(sender.send("jobs", message) for message in numbered(2, start)))
        received = await within(asyncio.gather(*receivers))
        assert sorted(message["number"] for message in received) == [start, start + 1]
