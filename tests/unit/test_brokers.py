"""Each event loop has its broker: one that has lost its loop, or a new one."""

from __future__ import annotations

import asyncio

import pytest

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
    """The running loop's broker."""
    broker = brokers.get()
    assert brokers.by_loop.get(asyncio.get_running_loop()) is broker is brokers.get()
    return broker


@pytest.fixture
def brokers() -> Brokers[Recorder]:
    """The brokers of a process that has none yet."""
    return Brokers(Recorder)


def test_loop_that_is_closed_without_cleanup(brokers: Brokers[Recorder]) -> None:
    """Its broker is abandoned, and goes on in the next loop."""
    loop = asyncio.new_event_loop()
    broker = loop.run_until_complete(get(brokers))
    loop.close()
    assert asyncio.run(get(brokers)) is broker
    assert broker.events == ["attach", "abandon", "attach", "detach"]


def test_unused_broker_goes_with_its_loop(brokers: Brokers[Recorder]) -> None:
    """No call can come back to it."""

    async def use() -> None:
        (await get(brokers)).is_unused = True

    asyncio.run(use())
    assert not brokers.values()


async def test_broker_is_reserved_for_a_while(
    brokers: Brokers[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that never come back do not leave a broker each."""
    reserved = await asyncio.to_thread(asyncio.run, get(brokers))
    monkeypatch.setattr(module, "RESERVED", -1)
    assert await get(brokers) is reserved


async def test_adopted_while_it_is_detached(brokers: Brokers[Recorder]) -> None:
    """It is attached again once it is detached; meanwhile `get` creates another."""
    broker = await get(brokers)
    closing = [asyncio.create_task(brokers.close()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not brokers.by_loop
    assert brokers.get() is not broker
    await brokers.adopt(broker, "chat")
    assert broker.events == ["attach", "detach", "attach"]
    await asyncio.gather(*closing)
    await brokers.close()


async def test_cancelled_as_it_is_detached(brokers: Brokers[Recorder]) -> None:
    """A call that is cancelled still returns only once the broker is detached."""
    broker = await get(brokers)
    closing = asyncio.create_task(brokers.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert broker.events == ["attach", "detach"]
