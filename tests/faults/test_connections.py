"""Connections that break over and over: each fault of the table, and what holds through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.connector import Connector
from channels_redis_shared.transport.pipeline import AutoPipeline
from channels_redis_shared.transport.sentinel import find_master
from support import inside
from support.messages import cancel, numbered, take, take_numbers, within
from support.queue_layers import Layers, beside, blocked, is_blocked, nothing_else
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from channels_redis_queue import RedisChannelLayer
    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy

    Fault = Callable[[TcpProxy, EmbeddedServer], object]

MESSAGES = 200
# Longer than any test: what comes was not found by chance, after a wait that timed out.
LONG_WAIT = 60


def forget_scripts(_: TcpProxy, server: EmbeddedServer) -> None:
    """Do what a restart of the server does to scripts."""
    with server.client() as client:
        client.script_flush()


FAULTS: dict[str, Fault] = {
    "closed": lambda proxy, _: proxy.cut(),
    "reset": lambda proxy, _: proxy.reset(),
    "reply is lost": lambda proxy, _: proxy.lose_reply(),
    "reply to a script is lost": lambda proxy, _: proxy.lose_reply(to=b"EVALSHA"),
    "scripts are forgotten": forget_scripts,
}


class Faulty:
    """A layer whose connections break, and one on the same server whose connections hold."""

    def __init__(self, layers: Layers, break_connections: Callable[[], object], url: str) -> None:
        self.layer: RedisChannelLayer = layers(hosts=[url], capacity=2 * MESSAGES)
        self.other: RedisChannelLayer = layers(capacity=2 * MESSAGES)
        self._break_connections = break_connections
        self._calls = 0

    async def pass_time(self, *, calls: int = 20) -> None:
        """Let the connections break once in so many calls."""
        self._calls += 1
        if self._calls % calls == 0:
            self._break_connections()
        await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readers wait for long, and each loss of a connection be the first for long."""
    monkeypatch.setattr("channels_redis_queue.protocol.inbox.BLOCK_SECONDS", LONG_WAIT)
    monkeypatch.setattr("channels_redis_queue.protocol.inbox.GENERAL_BLOCK_SECONDS", LONG_WAIT)
    monkeypatch.setattr("channels_redis_queue._shared.transport.reconnecting.Backoff.QUIET", 0)


@pytest.fixture(params=FAULTS)
async def faulty(
    request: pytest.FixtureRequest, proxy: TcpProxy, own_server: EmbeddedServer, own_layers: Layers
) -> Faulty:
    """Return two layers, with each fault in turn."""
    fault = FAULTS[request.param]
    return Faulty(own_layers, lambda: fault(proxy, own_server), proxy.url)


async def test_channels_of_a_process(faulty: Faulty) -> None:
    """Direct and group messages: none lost, none doubled, in order, no error out of `receive`."""
    layer = faulty.layer
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await within(layer.group_add("room", channel))
    consumers = [asyncio.create_task(take_numbers(layer, name, MESSAGES)) for name in channels]
    for message in numbered(MESSAGES):
        if message["number"] % 3:
            await faulty.other.group_send("room", message)
        else:
            for channel in channels:
                await faulty.other.send(channel, message)
        await faulty.pass_time()
    for numbers in await within(asyncio.gather(*consumers)):
        assert numbers == list(range(MESSAGES))
    for channel in channels:
        # The last fault may still lie ahead, and would fail a call of the layer's own.
        await nothing_else(layer, channel, faulty.other)


async def test_general_channel_and_cancelled_receivers(faulty: Faulty) -> None:
    """Receivers that are cancelled meanwhile: none lost, none doubled."""
    numbers: list[int] = []

    async def send() -> None:
        for message in numbered(MESSAGES):
            await faulty.other.send("jobs", message)
            await faulty.pass_time()

    sending = asyncio.create_task(send())
    while len(numbers) < MESSAGES:
        receiving = asyncio.create_task(faulty.layer.receive("jobs"))
        await asyncio.wait([receiving], timeout=0.02 if sending.done() else 0.003)
        await cancel(receiving)
        if not receiving.cancelled():
            numbers.append(receiving.result()["number"])
    await sending
    assert sorted(numbers) == list(range(MESSAGES))


@pytest.mark.parametrize("kind", ["specific", "general", "group"])
async def test_senders(faulty: Faulty, kind: str) -> None:
    """Of the messages whose call returned none is lost; none arrives twice, or out of order."""
    layer, sender = faulty.other, faulty.layer
    channel = "jobs" if kind == "general" else await layer.new_channel()
    await layer.group_add("room", channel)

    async def read() -> list[int]:
        numbers = await take_numbers(layer, channel, 1)
        while numbers[-1] != MESSAGES:
            numbers += await take_numbers(layer, channel, 1)
        return numbers

    # At once: what is sent again while it still waits would count once.
    reading = asyncio.create_task(read())
    sent: set[int] = set()
    for message in numbered(MESSAGES):
        await faulty.pass_time()
        try:
            if kind == "group":
                await within(sender.group_send("room", message))
            else:
                await within(sender.send(channel, message))
        except RedisConnectionError:
            continue
        sent.add(message["number"])
    await layer.send(channel, {"number": MESSAGES})
    numbers = await within(reading)
    assert sent < set(numbers)
    assert numbers == sorted(set(numbers))
    assert len(sent) > MESSAGES / 2


async def test_members_that_come_and_go(faulty: Faulty) -> None:
    """Joins and discards succeed through it all, and mean what they say."""
    layer, other = faulty.layer, faulty.other
    own, foreign = await layer.new_channel(), await other.new_channel()
    for number in range(20):
        room = f"room-{number}"
        for channel in (own, foreign):
            await faulty.pass_time(calls=6)
            await within(layer.group_add(room, channel))
        await other.group_send(room, {"number": number})
        for channel in (own, foreign):
            await faulty.pass_time(calls=6)
            await within(layer.group_discard(room, channel))
        await other.group_send(room, {"number": -1})
        for reader, channel in ((layer, own), (other, foreign)):
            assert await take_numbers(reader, channel, 1) == [number]
    for reader, channel in ((layer, own), (other, foreign)):
        await nothing_else(reader, channel, other)


class Reader:
    """A reader behind a proxy, and what it has claimed."""

    def __init__(self, server: EmbeddedServer, layers: Layers, proxy: TcpProxy) -> None:
        self.server = server
        self.layer: RedisChannelLayer = layers(hosts=[proxy.url])
        self.sender: RedisChannelLayer = layers()

    async def start(self) -> str:
        """Take a message, whose acknowledgement waits behind the wait for the next one."""
        self.channel = await self.layer.new_channel()
        self.waiting = await blocked(self.server, self.layer, self.channel)
        await self.take(0)
        return self.channel

    async def take(self, number: int) -> None:
        """Send a message and receive it, and nothing before it."""
        await self.sender.send(self.channel, {"number": number})
        assert await within(self.waiting) == {"number": number}
        self.waiting = await blocked(self.server, self.layer, self.channel)

    def claims(self) -> dict[str, tuple[bytes, float]]:
        """Return what is claimed, and its score, by the key of the claims."""
        with self.server.client() as client:
            return {
                key: claim
                for key in client.keys("*claims*")
                for claim in client.zrange(key, 0, -1, withscores=True)
            }


@pytest.fixture
async def reader(
    proxy: TcpProxy, own_server: EmbeddedServer, own_layers: Layers
) -> AsyncIterator[Reader]:
    """Yield a reader whose connections can be broken."""
    made = Reader(own_server, own_layers, proxy)
    yield made
    await cancel(made.waiting)


async def test_acknowledgement_that_did_not_arrive(reader: Reader, proxy: TcpProxy) -> None:
    """It is repeated with the first take of the next connection."""
    await reader.start()
    for number in range(1, 5):
        assert len(reader.claims()) == 1
        proxy.cut()
        await eventually(lambda: not reader.claims())
        await eventually(lambda: is_blocked(reader.server))
        await reader.take(number)


@pytest.mark.parametrize("where", ["claims", "key"])
async def test_what_a_failover_brings_back(reader: Reader, proxy: TcpProxy, where: str) -> None:
    """A replica may lack an acknowledgement or a take: nothing is received twice for that."""
    channel = await reader.start()
    [(claims, (message, score))] = reader.claims().items()
    await reader.take(1)
    with reader.server.client() as client:
        back = claims if where == "claims" else beside(reader.layer, channel).key
        client.zadd(back, {message: score})
    proxy.cut()
    await reader.sender.send(channel, {"number": 2})
    assert await within(reader.waiting) == {"number": 2}
    for _ in range(2):
        await nothing_else(reader.layer, channel)
    await eventually(lambda: message not in [one for one, _ in reader.claims().values()])


async def test_idle_command_connection(proxy: TcpProxy) -> None:
    """Nothing was written on it: what comes next goes on a new one, however soon it comes."""
    (host,) = parse_hosts([proxy.url])
    pipeline = AutoPipeline(Connector(host))
    for count in range(1, 5):
        assert await within(pipeline.execute(("INCR", "n"), key="n")) == count
        transport = inside.transport_of(pipeline)
        proxy.reset()
        # Each turn: uvloop closes its transport some turns before it says so.
        while not transport.is_closing():
            await asyncio.sleep(0)
    await pipeline.close()


def reset_all(server: socket.socket) -> None:
    """Answer the first command of each connection, and reset it, until the server is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.recv(1000)
            connection.sendall(b"+OK\r\n")
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def test_sentinel_that_goes_as_it_is_asked() -> None:
    """It is away like any other, so that a receiver asks again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=reset_all, args=(server,), daemon=True).start()
        (host,) = parse_hosts([{"sentinels": [server.getsockname()], "master_name": "mymaster"}])
        for _ in range(50):
            with pytest.raises(RedisConnectionError):
                await within(find_master(host))
        server.shutdown(socket.SHUT_RDWR)  # ends the thread


async def test_slow_network(
    own_layers: Layers, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog that takes longer than any deadline arrives, over the one connection, and once."""
    monkeypatch.setattr("channels_redis_queue.receiver.REPLY_GRACE", 0.5)
    sender = own_layers()
    proxy.bytes_a_second = 1_200_000
    layer = own_layers(hosts=[{"address": proxy.url, "socket_timeout": 0.5}])
    channel = await layer.new_channel()
    for number in range(4):  # 2.4 MB, for which this network needs 2 s
        await within(sender.send(channel, {"number": number, "padding": "x" * 600_000}))
    for number in range(4):
        assert (await take(layer, channel))["number"] == number
    assert layer.statistics().reconnects == 0
    await nothing_else(layer, channel)
