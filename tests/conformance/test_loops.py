"""Event loops: a layer works in each one, and in many after each other."""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from redis.exceptions import ConnectionError as RedisConnectionError

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, Required, checks
from support.loop_thread import LoopThread
from support.messages import Message, joined, take, take_many, within

if TYPE_CHECKING:
    from conformance.layer_case import ChannelLayer, LayerCase

HELLO = {"type": "test.hello"}
PAUSES = [number / 10_000 for number in range(31)]  # seconds


async def round_trip(layer: ChannelLayer) -> list[Message]:
    """Make a channel, join a group, send both ways, receive, leave."""
    channel = await joined(layer, "room")
    await within(layer.send(channel, HELLO))
    await within(layer.group_send("room", HELLO))
    received = [await take(layer, channel), await take(layer, channel)]
    await within(layer.group_discard("room", channel))
    return received


@checks(Beyond.LOOPS)
def test_loop_after_loop(layer: ChannelLayer) -> None:
    """One layer serves loops that follow each other, as in a test suite with a loop a test."""
    for _ in range(5):
        assert asyncio.run(round_trip(layer)) == [HELLO, HELLO]


@checks(Required.SYNCHRONOUS)
@needs(Capability.QUEUE)
def test_synchronous_caller(layer: ChannelLayer) -> None:
    """Code without a loop calls each method through `async_to_sync`, which makes one per call."""
    for _ in range(3):
        async_to_sync(layer.send)("jobs", HELLO)
        assert async_to_sync(take)(layer, "jobs") == HELLO


@checks(Required.SYNCHRONOUS)
@needs(Capability.LOOPS)
def test_channel_outlives_its_loop(layer: ChannelLayer) -> None:
    """A channel and its membership may be used from loop to loop, each call with its own."""
    channel = async_to_sync(layer.new_channel)()
    async_to_sync(layer.group_add)("room", channel)
    for _ in range(3):
        async_to_sync(layer.send)(channel, HELLO)
        async_to_sync(layer.group_send)("room", HELLO)
        for _ in range(2):
            assert async_to_sync(take)(layer, channel) == HELLO
    async_to_sync(layer.group_discard)("room", channel)


@checks(Beyond.LOOPS)
def test_channel_goes_on_in_the_next_loop(layer: ChannelLayer) -> None:
    """A channel that has not been received on yet is still a member, in the loop that adopts it."""
    channel = asyncio.run(joined(layer, "room", "other"))

    async def go_on() -> None:
        # Returns when the layer hears what is sent.
        await within(layer.group_add("room", channel))
        await within(layer.group_add("third", channel))
        for group in ("room", "other", "third"):
            await within(layer.group_send(group, {"type": group}))
        received = [(await take(layer, channel))["type"] for _ in range(3)]
        assert received == ["room", "other", "third"]

    asyncio.run(go_on())


@checks(Beyond.LOOPS)
@needs(Capability.ONE_LOOP)
async def test_channel_of_a_loop_in_another_thread(layer: ChannelLayer) -> None:
    """It can't be received on before that loop has ended: the error says where to do that."""
    here = await joined(layer, "room")
    with LoopThread() as other:
        channel = await other.run(joined(layer, "room"))
        with pytest.raises(RuntimeError, match=r"another event loop.*run_coroutine_threadsafe"):
            await take(layer, channel)
        await within(layer.group_send("room", HELLO))
        await other.run(layer.group_send("room", HELLO))
        assert await other.run(take_many(layer, channel, 2)) == [HELLO, HELLO]
        assert await take_many(layer, here, 2) == [HELLO, HELLO]
        elsewhere = asyncio.run_coroutine_threadsafe(layer.receive(channel), other.loop)
        await within(layer.send(channel, HELLO))
        assert await within(asyncio.wrap_future(elsewhere)) == HELLO


@checks(Required.SYNCHRONOUS)
async def test_thread_sends_to_a_loop(case: LayerCase, layer: ChannelLayer) -> None:
    """A synchronous view, called in a thread by the server, reaches the server's consumers."""
    channel = await joined(layer, "room")

    def view() -> None:
        async_to_sync(layer.send)(channel, HELLO)
        async_to_sync(layer.group_send)("room", HELLO)

    for _ in range(3):
        await within(sync_to_async(view)())
        assert [await take(layer, channel), await take(layer, channel)] == [HELLO, HELLO]
    await case.nothing_else(layer, channel)


@checks(Beyond.LOOPS)
@needs(Capability.PROCESSES)
async def test_loops_come_and_go_in_many_threads(case: LayerCase, layer: ChannelLayer) -> None:
    """Those of `async_to_sync` leave a channel without a loop in between: no other takes it."""
    channel = await joined(layer, "room")

    async def talk(own: str, group: str) -> Message:
        # Returns when the layer hears what is sent.
        await within(layer.group_add(group, own))
        await within(layer.group_send(group, {"type": group}))
        return await take(layer, own)

    def work(number: int) -> None:
        group = f"room-{number}"
        assert asyncio.run(round_trip_alone(layer, group)) == HELLO
        own = async_to_sync(layer.new_channel)()
        async_to_sync(layer.group_add)(group, own)
        assert async_to_sync(talk)(own, group) == {"type": group}
        async_to_sync(layer.group_send)("room", HELLO)

    with ThreadPoolExecutor(6) as pool:
        loop = asyncio.get_running_loop()
        await within(asyncio.gather(*(loop.run_in_executor(pool, work, n) for n in range(18))))
    assert [await take(layer, channel) for _ in range(18)] == [HELLO] * 18
    await case.nothing_else(layer, channel)


@checks(Beyond.LOOPS)
async def test_layer_may_be_closed_at_any_moment(case: LayerCase) -> None:
    """Closing ends what a layer does in the background, whatever that is just waiting for."""
    for pause in PAUSES:
        layer = case.layer()
        await use_and_close(case, layer, await layer.new_channel(), pause)


@checks(Beyond.LOOPS)
@needs(Capability.QUEUE)
async def test_layer_of_a_worker_may_be_closed_at_any_moment(case: LayerCase) -> None:
    """The same after receiving from a general channel, where others may want what comes next."""
    for pause in PAUSES:
        await use_and_close(case, case.layer(), "jobs", pause)


@checks(Beyond.LOOPS)
async def test_consumers_that_wait_as_the_layer_closes(case: LayerCase) -> None:
    """They go on waiting, and get what is sent afterwards."""
    layer = case.layer()
    channels = [await joined(layer, "room") for _ in range(10)]
    receiving = [asyncio.ensure_future(take(layer, channel)) for channel in channels]
    await asyncio.sleep(0)
    await case.close(layer)
    # Returns when the layer hears what is sent.
    await within(layer.group_add("room", channels[0]))
    await within(layer.group_send("room", HELLO))
    assert await within(asyncio.gather(*receiving)) == [HELLO] * 10
    await case.close(layer)


@checks(Beyond.LOOPS)
async def test_calls_under_way_end_when_the_layer_closes(case: LayerCase) -> None:
    """A call that has just begun as its layer is closed succeeds or fails; it never hangs."""
    for turns in range(8):
        layer = case.layer()
        await round_trip(layer)
        calls = [asyncio.ensure_future(layer.group_send("room", HELLO)) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await case.close(layer)
        for outcome in await within(asyncio.gather(*calls, return_exceptions=True)):
            assert outcome is None or isinstance(outcome, RedisConnectionError)
        await case.close(layer)


@checks(Beyond.LOOPS)
@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 brought eager tasks")
async def test_eager_tasks(layer: ChannelLayer) -> None:
    """A loop that runs each task up to its first wait at once, as `eager_task_factory` does."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    for _ in range(3):
        assert await round_trip(layer) == [HELLO, HELLO]
    many = [asyncio.create_task(round_trip_alone(layer, f"room-{n}")) for n in range(20)]
    assert await within(asyncio.gather(*many)) == [HELLO] * 20


async def round_trip_alone(layer: ChannelLayer, group: str) -> Message:
    """Send to a group of which a new channel is the one member, and receive."""
    channel = await joined(layer, group)
    await within(layer.group_send(group, HELLO))
    return await take(layer, channel)


async def use_and_close(case: LayerCase, layer: ChannelLayer, channel: str, pause: float) -> None:
    """Send and receive one message, keep the loop turning for a pause, and close the layer."""
    await within(layer.send(channel, HELLO))
    assert await take(layer, channel) == HELLO
    end = time.perf_counter() + pause
    while time.perf_counter() < end:
        await asyncio.sleep(0)
    await case.close(layer)
