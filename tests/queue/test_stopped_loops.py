"""Receivers whose event loop ends, or stops without notice: another loop's replaces them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync

from channels_redis_queue import receiver, receiver_pool, scripts
from channels_redis_queue.protocol.dispatch import WorkerDispatcher
from channels_redis_queue.receiver import Receiver
from support.messages import DEADLINE, cancel, within
from support.queue_layers import Layers, beside, blocked, is_blocked, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from channels_redis_queue._shared.transport.commands import Command
    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy

HELLO = {"type": "hello"}


async def test_claims_outlive_a_loop_that_ends_in_an_outage(
    own_server: EmbeddedServer,
    own_layers: Layers,
    proxy: TcpProxy,
) -> None:
    """A message in a lost reply is handed over again."""
    layer, sender = own_layers(hosts=[proxy.url]), own_layers()
    key, end = beside(layer, "work").key, threading.Event()

    async def receive_until_the_end() -> None:
        waiter = asyncio.create_task(layer.receive("work"))
        await asyncio.to_thread(end.wait, DEADLINE)
        waiter.cancel()
        await asyncio.wait([waiter])

    with own_server.client() as client:
        first = asyncio.create_task(asyncio.to_thread(asyncio.run, receive_until_the_end()))
        await eventually(lambda: client.info("clients")["blocked_clients"] == 1)
        proxy.stall(requests=False, new=True)
        await within(sender.send("work", HELLO))
        await eventually(lambda: client.keys("*claims*") and not client.exists(key))
        end.set()
        await first
    proxy.cut()
    proxy.resume()
    second = asyncio.wait_for(layer.receive("work"), 30)
    assert await asyncio.to_thread(asyncio.run, second) == HELLO


async def test_claims_outlive_a_layer_that_is_closed_in_an_outage(
    own_server: EmbeddedServer,
    own_layers: Layers,
    proxy: TcpProxy,
) -> None:
    """A message in a lost reply is received in the same loop after `close_pools`."""
    layer, sender = own_layers(hosts=[proxy.url]), own_layers()
    channel = await layer.new_channel()
    key = beside(layer, channel).key
    with own_server.client() as client:
        waiter = asyncio.create_task(layer.receive(channel))
        await eventually(lambda: client.info("clients")["blocked_clients"] == 1)
        proxy.stall(requests=False, new=True)
        await within(sender.send(channel, HELLO))
        await eventually(lambda: client.keys("*claims*") and not client.exists(key))
        await cancel(waiter)
        await within(layer.close_pools())
    proxy.cut()
    proxy.resume()
    assert await within(layer.receive(channel)) == HELLO


async def test_consumer_that_ends_in_a_loop_without_connections(own_layers: Layers) -> None:
    """The end of its membership opens none there."""
    layer = own_layers()
    loops = layer._broker.get().loops
    made: asyncio.Queue[str] = asyncio.Queue()
    here, ended = asyncio.get_running_loop(), threading.Event()

    async def create() -> None:
        channel = await layer.new_channel()
        here.call_soon_threadsafe(made.put_nowait, channel)
        await asyncio.to_thread(ended.wait)

    async def run_consumer() -> bool:
        await asyncio.create_task(create())
        await asyncio.sleep(0)
        return loops.find() is None

    consumer = asyncio.create_task(asyncio.to_thread(asyncio.run, run_consumer()))
    channel = await within(made.get())
    await layer.group_add("room", channel)
    waiter = asyncio.create_task(layer.receive(channel))
    await eventually(lambda: layer._broker.get().mailboxes.waiting(channel))
    await cancel(waiter)
    ended.set()
    assert await within(consumer)
    assert channel not in layer._broker.get().mailboxes


class Elsewhere:
    """An event loop in another thread, in which a layer receives until the loop stops."""

    def __init__(self, layer: RedisChannelLayer, channel: str) -> None:
        self._layer = layer
        self._channel = channel
        self.loop = asyncio.new_event_loop()

    def receive(self) -> object:
        """Run the loop until a message comes."""
        return self.loop.run_until_complete(self._layer.receive(self._channel))

    def begin_to_receive(self) -> None:
        """Run the loop until its receiver has begun, and then stop it in the middle of a wait."""

        async def begin() -> None:
            task = asyncio.ensure_future(self._layer.receive(self._channel))
            await asyncio.wait([task], timeout=0.3)
            await cancel(task)

        self.loop.run_until_complete(begin())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["specific", "general"])
@pytest.mark.parametrize("end", ["stops", "is closed"])
async def test_loop_of_the_receiver_ends_silently(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch, kind: str, end: str
) -> None:
    """A consumer that waits in another loop still receives, a little later."""
    monkeypatch.setattr(receiver_pool, "POLL_INTERVAL", 0.1)
    layer, sender = own_layers(), own_layers()
    own = await layer.new_channel()
    channel = own if kind == "specific" else "jobs"
    elsewhere = Elsewhere(layer, channel)
    await asyncio.to_thread(elsewhere.begin_to_receive)
    waiter = asyncio.create_task(layer.receive(channel))
    if end == "is closed":
        elsewhere.loop.close()
    for number in range(3):
        await within(sender.send(channel, {"number": number}))
        assert await within(waiter) == {"number": number}
        waiter = asyncio.create_task(layer.receive(channel))
    if end == "stops":
        # It runs again: its receiver has nothing to do with the channel any more.
        await cancel(waiter)
        receiving = asyncio.create_task(asyncio.to_thread(elsewhere.receive))
        await within(sender.send(channel, {"number": 3}))
        assert await within(receiving) == {"number": 3}
        await within(asyncio.to_thread(elsewhere.loop.run_until_complete, layer.close_pools()))
        elsewhere.loop.close()
    else:
        await cancel(waiter)
    await within(sender.send(channel, {"number": 4}))
    assert await within(layer.receive(channel)) == {"number": 4}


async def test_loop_stops_while_another_waits(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiter from before the loop of the receiver stopped receives within seconds too."""
    monkeypatch.setattr(receiver_pool, "POLL_INTERVAL", 0.1)
    layer, sender = own_layers(), own_layers()
    channel = await layer.new_channel()
    loop, stop = asyncio.new_event_loop(), threading.Event()

    async def first() -> None:
        task = asyncio.ensure_future(layer.receive(await layer.new_channel()))
        await asyncio.wait([task], timeout=0.3)
        ready.set()
        await asyncio.to_thread(stop.wait)

    ready = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(loop.run_until_complete, first()))
    await asyncio.to_thread(ready.wait)
    waiter = asyncio.create_task(layer.receive(channel))
    await within(sender.send(channel, {"number": 0}))
    assert await within(waiter) == {"number": 0}
    waiter = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    stop.set()
    await running
    await within(sender.send(channel, {"number": 1}))
    assert await within(waiter) == {"number": 1}

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await layer.close_pools()
        await cancel(*tasks)

    await within(asyncio.to_thread(loop.run_until_complete, end()))
    loop.close()


async def test_receiver_is_replaced_while_its_loop_ends(
    own_layers: Layers, proxy: TcpProxy
) -> None:
    """The loop ends without an error, and the consumer in the other loop receives."""
    layer, sender = own_layers(hosts=[proxy.url]), own_layers()
    channel, other = await layer.new_channel(), await layer.new_channel()
    received, end = asyncio.Event(), threading.Event()
    here, problems = asyncio.get_running_loop(), []

    async def receive_first() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        await layer.receive(other)
        here.call_soon_threadsafe(received.set)
        await asyncio.to_thread(end.wait, DEADLINE)

    first = asyncio.create_task(asyncio.to_thread(asyncio.run, receive_first()))
    await within(sender.send(other, HELLO))
    await within(received.wait())
    waiter = asyncio.create_task(layer.receive(channel))
    await within(sender.send(channel, HELLO))
    assert await within(waiter) == HELLO
    [[receiver]] = layer._broker.get().receiver_pool._receivers.values()
    waiter = asyncio.create_task(layer.receive(channel))
    proxy.stall(requests=False)
    end.set()
    await eventually(lambda: receiver._replaced)
    proxy.resume()
    await within(first)
    assert not problems
    await within(sender.send(channel, HELLO))
    assert await within(waiter) == HELLO


async def test_loop_ends_while_the_layer_closes(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """That cancels all tasks, also the one that closes: no receiver stays at the server."""
    layer, sender = own_layers(), own_layers()
    closing: list[asyncio.Task[None]] = []

    async def close_and_end() -> None:
        await cancel(await blocked(own_server, layer, "jobs"))
        closing.append(asyncio.create_task(layer.close_pools()))
        await asyncio.sleep(0)  # until it has begun

    await asyncio.to_thread(asyncio.run, close_and_end())
    assert closing[0].cancelled()
    with own_server.client() as client:
        assert client.info("clients")["blocked_clients"] == 0
    await within(sender.send("jobs", HELLO))
    assert await within(sender.receive("jobs")) == HELLO


async def test_loop_ends_while_a_receive_outlasts_closing(
    own_server: EmbeddedServer,
    own_layers: Layers,
    proxy: TcpProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its message goes back to Redis, though its new receiver has no connection yet."""
    monkeypatch.setattr(receiver, "STOP_TIMEOUT", 20)
    layer, sender = own_layers(hosts=[proxy.url]), own_layers()
    receivers = layer._broker.get().receiver_pool._receivers
    close, end = threading.Event(), threading.Event()
    started: list[asyncio.Task[Any]] = []

    async def close_and_end() -> None:
        started.append(asyncio.create_task(layer.receive("jobs")))
        await asyncio.to_thread(close.wait, DEADLINE)
        started.append(asyncio.create_task(layer.close_pools()))
        await asyncio.to_thread(end.wait, DEADLINE)

    ending = asyncio.create_task(asyncio.to_thread(asyncio.run, close_and_end()))
    await eventually(lambda: is_blocked(own_server))
    [before] = receivers["jobs"]
    proxy.stall(requests=False, new=True)
    await within(sender.send("jobs", HELLO))
    with own_server.client() as client:
        await eventually(lambda: not client.exists(beside(layer, "jobs").key))
    close.set()
    await eventually(lambda: receivers["jobs"] != [before])
    end.set()
    await eventually(started[0].done)
    proxy.cut()
    proxy.resume()
    await within(ending)
    assert started[0].cancelled()
    assert await within(sender.receive("jobs")) == HELLO


async def test_loop_ends_before_another_has_what_it_was_handed(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the call in the other loop is cancelled then, the next one gets the message."""
    layer, sender = own_layers(), own_layers()
    waits, end = asyncio.Event(), threading.Event()
    here = asyncio.get_running_loop()

    async def begin_elsewhere() -> None:
        await cancel(await waiting(layer, "jobs"))
        here.call_soon_threadsafe(waits.set)
        await asyncio.to_thread(end.wait, DEADLINE)

    elsewhere = threading.Thread(target=asyncio.run, args=[begin_elsewhere()])
    elsewhere.start()
    await within(waits.wait())
    give = WorkerDispatcher._give

    def give_and_be_busy(self: WorkerDispatcher, *arguments: Any) -> None:
        give(self, *arguments)
        end.set()
        elsewhere.join(30)
        receiving.cancel()

    receiving = asyncio.create_task(layer.receive("jobs"))
    monkeypatch.setattr(WorkerDispatcher, "_give", give_and_be_busy)
    await asyncio.sleep(0)  # until it waits
    await within(sender.send("jobs", HELLO))
    await asyncio.wait([receiving], timeout=30)
    assert receiving.cancelled()
    assert not elsewhere.is_alive()
    monkeypatch.undo()
    assert await within(layer.receive("jobs")) == HELLO


async def test_receiver_keeps_what_another_loop_was_handed(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not end before the call there has run, which may be cancelled."""
    monkeypatch.setattr(receiver, "IDLE_TIMEOUT", 0)
    layer, sender = own_layers(), own_layers()
    waits, end = asyncio.Event(), threading.Event()
    here = asyncio.get_running_loop()

    async def receive_elsewhere() -> None:
        waiter = await waiting(layer, "jobs")
        here.call_soon_threadsafe(waits.set)
        await asyncio.to_thread(end.wait, DEADLINE)
        await within(waiter)

    elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, receive_elsewhere()))
    await within(waits.wait())
    receivers = layer._broker.get().receiver_pool._receivers
    give, stop = WorkerDispatcher._give, WorkerDispatcher.on_receive_stopped
    idle = threading.Semaphore(0)

    def stop_and_count(self: WorkerDispatcher) -> None:
        stop(self)
        idle.release()

    def give_and_be_busy(self: WorkerDispatcher, *arguments: Any) -> None:
        give(self, *arguments)
        # Until the receiver has been idle twice, or has ended after the first time.
        assert idle.acquire(timeout=30)
        while "jobs" in receivers and not idle.acquire(timeout=0.01):
            pass
        receiving.cancel()

    receiving = asyncio.create_task(layer.receive("jobs"))
    await asyncio.sleep(0)  # until it waits
    monkeypatch.setattr(WorkerDispatcher, "on_receive_stopped", stop_and_count)
    monkeypatch.setattr(WorkerDispatcher, "_give", give_and_be_busy)
    try:
        for _ in range(2):  # the first is for the call in the other loop
            await within(sender.send("jobs", HELLO))
        await asyncio.wait([receiving], timeout=60)
        assert receiving.cancelled()
        monkeypatch.setattr(WorkerDispatcher, "_give", give)
        assert await within(layer.receive("jobs")) == HELLO
    finally:
        end.set()
    await within(elsewhere)


@pytest.mark.parametrize("first", ["release", "take"])
async def test_receiver_is_replaced_while_it_puts_back(
    own_server: EmbeddedServer, own_layers: Layers, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """The message is delivered once, whichever command of the two receivers comes first."""
    monkeypatch.setattr(receiver, "STOP_TIMEOUT", 30)
    layer, other = own_layers(), own_layers()
    await cancel(await blocked(own_server, layer, "jobs"))
    [before] = layer._broker.get().receiver_pool._receivers["jobs"]
    execute, read = before._commands.execute, Receiver._read
    held, release, take = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def execute_later(command: Command, **more: Any) -> Any:
        if command[1] == scripts.RELEASE.sha:
            held.set()
            await release.wait()
        return await execute(command, **more)

    async def read_later(self: Receiver, *arguments: Any) -> None:
        if self is not before:
            await take.wait()
        await read(self, *arguments)

    def takes() -> int:
        calls: int = client.info("commandstats")["cmdstat_eval"]["calls"]
        return calls

    monkeypatch.setattr(before._commands, "execute", execute_later)
    monkeypatch.setattr(Receiver, "_read", read_later)
    await within(other.send("jobs", {"number": 0}))
    await within(held.wait())
    releasing = before._releasing
    assert releasing is not None
    with own_server.client() as client:
        count = takes()
        closing = asyncio.create_task(layer.close_pools())
        await eventually(lambda: takes() == count + 1)
        receiving = asyncio.create_task(layer.receive("jobs"))
        await eventually(lambda: takes() == count + 2)
        if first == "release":
            release.set()
            await within(closing)
            take.set()
            assert await within(receiving) == {"number": 0}
        else:
            take.set()
            assert await within(receiving) == {"number": 0}
            count = takes()
            release.set()
            await within(closing)
            assert takes() == count
    await within(other.send("jobs", {"number": 1}))
    assert await within(other.receive("jobs")) == {"number": 1}
    await within(asyncio.wait([releasing]))
    assert releasing.cancelled() or releasing.exception() is None


async def test_receiver_was_replaced_while_idle(
    own_server: EmbeddedServer, own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its loop runs again, it takes nothing that another loop waits for."""
    monkeypatch.setattr(receiver, "IDLE_TIMEOUT", 0)
    # What comes sooner was not found by chance, after a wait that timed out.
    monkeypatch.setattr("channels_redis_queue.protocol.inbox.BLOCK_SECONDS", 60)
    layer, sender = own_layers(), own_layers()
    elsewhere = Elsewhere(layer, "jobs")
    await within(sender.send("jobs", HELLO))
    await within(asyncio.to_thread(elsewhere.receive))
    [before] = layer._broker.get().receiver_pool._receivers["jobs"]
    waiter = await blocked(own_server, layer, "jobs")
    again = asyncio.wait([before._task], timeout=1)
    await within(asyncio.to_thread(elsewhere.loop.run_until_complete, again))
    for number in range(2):
        await within(sender.send("jobs", {"number": number}))
        assert await within(waiter, 20) == {"number": number}
        waiter = asyncio.create_task(layer.receive("jobs"))
    await cancel(waiter)
    await within(asyncio.to_thread(elsewhere.loop.run_until_complete, layer.close_pools()))
    elsewhere.loop.close()


def test_channel_that_synchronous_code_receives_on_once(own_server: EmbeddedServer) -> None:
    """Nothing stays of it, in the process or at the server."""
    layers = Layers(hosts=[own_server.url])
    layer = layers()
    for number in range(5):
        channel = f"answer-{number}"
        async_to_sync(layer.send)(channel, {"number": number})
        assert async_to_sync(layer.receive)(channel) == {"number": number}
    process = layer._broker.get()
    assert not process.receiver_pool._receivers
    assert not process.receiver_pool._worker_dispatchers
    assert not len(process.mailboxes)
    with own_server.client() as client:
        assert not client.keys("*claims*")
