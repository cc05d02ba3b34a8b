"""Event loops side by side, and those that end: the next goes on with what they had taken."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync

from support.loop_thread import LoopThread
from support.messages import cancel, within
from support.queue_layers import Layers, beside, blocked, names_in, nothing_else
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy

HELLO = {"type": "hello"}


@pytest.mark.parametrize("ends", ["layer", "loop"])
async def test_claims_outlive_an_outage(own_layers: Layers, proxy: TcpProxy, ends: str) -> None:
    """A message in a lost reply is received after `close_pools`, or in the next event loop."""
    layer, sender = own_layers(hosts=[proxy.url]), own_layers()
    with LoopThread() as other, own_layers.server.client() as client:
        first = other if ends == "loop" else None
        channel = "work" if first else await layer.new_channel()
        key = beside(layer, channel).key
        waiter = asyncio.ensure_future(
            asyncio.wrap_future(first.start(layer.receive(channel)))
            if first
            else layer.receive(channel)
        )
        await eventually(lambda: client.info("clients")["blocked_clients"] == 1)
        proxy.stall(requests=False, new=True)
        await within(sender.send(channel, HELLO))
        await eventually(lambda: client.keys("*claims*") and not client.exists(key))
        await cancel(waiter)
        if not first:
            await within(layer.close_pools())
    proxy.cut()
    proxy.resume()
    assert await within(layer.receive(channel)) == HELLO


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("kind", "count"), [("specific", 1), ("general", 1), ("general", 3)])
def test_loop_is_closed_without_cleanup(own_server: EmbeddedServer, kind: str, count: int) -> None:
    """The next loop receives all that its receiver takes meanwhile, in order and once.

    Of several loops that were closed, it receives what each has taken.
    """
    layers = Layers(hosts=[own_server.url])
    layer, sender = layers(), layers()
    loops = [asyncio.new_event_loop() for _ in range(count)]

    async def begin() -> str:
        channel = await layer.new_channel() if kind == "specific" else "jobs"
        waiter = await blocked(own_server, layer, channel)
        waiter._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        return channel

    async def go_on() -> None:
        received = [(await within(layer.receive(channel)))["number"] for _ in range(3)]
        assert (received if count == 1 else sorted(received)) == [0, 1, 2]
        await nothing_else(layer, channel)

    [channel] = {loop.run_until_complete(begin()) for loop in loops}
    async_to_sync(sender.send)(channel, {"number": 0})
    while loops:
        loops.pop().close()
    gc.collect()
    for number in (1, 2):
        async_to_sync(sender.send)(channel, {"number": number})
    asyncio.run(go_on())
    gc.collect()


@pytest.mark.usefixtures("frequent_checks")
async def test_member_is_added_and_removed_by_another_loop(layers: Layers) -> None:
    """A loop in another thread does with a channel what another process may do, in order."""
    layer = layers()
    channel = await layer.new_channel()
    with LoopThread() as other:
        await other.run(layer.group_add("room", channel))
        await other.run(layer.group_send("room", {"number": 0}))
        await other.run(layer.group_discard("room", channel))
        await other.run(layer.group_send("room", {"number": 1}))
        await layer.group_add("room", channel)
        await other.run(layer.group_discard("room", channel))
        await layer.group_send("room", {"number": 2})
        assert await within(layer.receive(channel)) == {"number": 0}
        await nothing_else(layer, channel)
        await eventually(lambda: layer.statistics().groups == 0)
    assert await names_in(layer, "room") == []


async def test_receivers_of_a_general_channel_in_two_loops(own_layers: Layers) -> None:
    """Each message goes to one, in whichever loop, and all to the loop that stays."""
    layer, sender = own_layers(), own_layers(capacity=1000)
    numbers: list[int] = []

    async def drain() -> None:
        while True:
            numbers.append((await layer.receive("jobs"))["number"])

    here = [asyncio.create_task(drain()) for _ in range(3)]
    with LoopThread() as other:
        for _ in range(3):
            other.start(drain())
        for number in range(500):
            await sender.send("jobs", {"number": number})
        await eventually(lambda: len(numbers) >= 500)
    await sender.send("jobs", {"number": 500})
    await eventually(lambda: len(numbers) >= 501)
    await cancel(*here)
    assert sorted(numbers) == list(range(501))


def test_channel_that_synchronous_code_receives_on_once(own_server: EmbeddedServer) -> None:
    """Nothing stays of it, in the process or at the server."""
    layer = Layers(hosts=[own_server.url])()
    for number in range(5):
        channel = f"answer-{number}"
        async_to_sync(layer.send)(channel, {"number": number})
        assert async_to_sync(layer.receive)(channel) == {"number": number}
    assert layer.statistics().mailboxes == 0
    with own_server.client() as client:
        assert not client.keys("*claims*")
