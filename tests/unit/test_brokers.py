"""An event loop has a broker of its own: one whose loop has ended, or a new one."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from channels_redis_shared import brokers as module
from channels_redis_shared.brokers import Brokers


class Recorder:
    """A broker that records what happens to it."""

    loop: asyncio.AbstractEventLoop | None = None
    is_unused = False

    def __init__(self) -> None:
        self.events: list[str] = []

    def attach(self) -> None:
        """Record it."""
        assert self.loop is asyncio.get_running_loop()
        self.events.append("attach")

    async def detach(self) -> None:
        """Record it, and take some turns of the loop."""
        assert self.loop is asyncio.get_running_loop()
        for _ in range(3):
            await asyncio.sleep(0)
        self.events.append("detach")

    def abandon(self) -> None:
        """Record it."""
        assert self.loop is not None
        assert self.loop.is_closed()
        self.events.append("abandon")


async def get(brokers: Brokers[Recorder]) -> Recorder:
    """Return the running loop's broker."""
    broker = brokers.get()
    assert brokers.by_loop.get(asyncio.get_running_loop()) is broker is brokers.get()
    return broker


@pytest.fixture
def brokers() -> Brokers[Recorder]:
    """Return the brokers of a process that has none yet."""
    return Brokers(Recorder)


def test_loop_that_is_closed_without_cleanup(brokers: Brokers[Recorder]) -> None:
    """Its broker is abandoned, and goes on in the next loop."""
    loop = asyncio.new_event_loop()
    broker = loop.run_until_complete(get(brokers))
    loop.close()
    assert asyncio.run(get(brokers)) is broker
    assert broker.events == ["attach", "abandon", "attach", "detach"]


async def test_calls_of_a_thread_with_a_loop_each(brokers: Brokers[Recorder]) -> None:
    """Another thread's loop leaves alone what is used between two calls of `async_to_sync`."""

    def make() -> Recorder:
        broker = async_to_sync(get)(brokers)
        assert broker.loop is None
        return broker

    reserved = await asyncio.to_thread(make)
    here = await get(brokers)
    assert here is not reserved
    # Made in the thread: asgiref 3.6 runs the call in the loop in which this was made, if any.
    await asyncio.to_thread(lambda: async_to_sync(brokers.adopt)(reserved, "chat"))
    assert reserved.events == ["attach", "detach"] * 2
    # The server's loop runs the calls of its own threads.
    assert await sync_to_async(async_to_sync(get))(brokers) is here
    # It goes with its loop if no caller can come back to it.
    reserved.is_unused = True
    await asyncio.to_thread(lambda: async_to_sync(brokers.adopt)(reserved, "chat"))
    assert brokers.values() == [here]


async def test_broker_is_reserved_for_a_while(
    brokers: Brokers[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that never come back do not leave a broker each."""
    reserved = await asyncio.to_thread(asyncio.run, get(brokers))
    monkeypatch.setattr(module, "RESERVED", -1)
    assert await get(brokers) is reserved


async def test_close_keeps_some(brokers: Brokers[Recorder]) -> None:
    """A broker that is needed stays attached, and another call detaches it."""
    broker = await get(brokers)
    await brokers.close(lambda one: one is broker)
    assert await get(brokers) is broker
    await brokers.close()
    await brokers.close()
    assert not brokers.by_loop
    assert broker.events == ["attach", "detach"]


async def test_adopted_while_it_is_detached(brokers: Brokers[Recorder]) -> None:
    """It is attached again once it is detached; meanwhile `get` makes another."""
    broker = await get(brokers)
    closing = [asyncio.create_task(brokers.close()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not brokers.by_loop
    assert brokers.get() is not broker
    await brokers.adopt(broker, "chat")
    assert broker.events == ["attach", "detach", "attach"]
    await asyncio.gather(*closing)
    await brokers.close()


def test_cancelled_as_it_is_detached(brokers: Brokers[Recorder]) -> None:
    """The end of a loop cancels all tasks, then detaches what is left, and logs no error."""
    unhandled: list[object] = []

    async def close() -> Recorder:
        asyncio.get_running_loop().set_exception_handler(lambda _, error: unhandled.append(error))
        broker = await get(brokers)
        task = asyncio.create_task(brokers.close())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert broker.events == ["attach", "detach"]
        broker = await get(brokers)
        asyncio.ensure_future(brokers.close())  # noqa: RUF006 - the end of the loop cancels it
        await asyncio.sleep(0)
        return broker

    broker = asyncio.run(close())
    assert broker.events == ["attach", "detach"] * 2
    assert broker.loop is None
    gc.collect()
    assert not unhandled
