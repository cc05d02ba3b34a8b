"""A reader whose connection breaks: messages from the server, and acknowledgements to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from support.messages import within
from support.queue_layers import Layers, beside, blocked, is_blocked, nothing_else
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy


ROUNDS = 6
# The seconds of a wait are so many here that what comes sooner was not found by chance, after one
# that timed out.
WAIT = "channels_redis_queue.protocol.inbox.BLOCK_SECONDS"
GENERAL_WAIT = "channels_redis_queue.protocol.inbox.GENERAL_BLOCK_SECONDS"
LONG_WAIT, AT_ONCE = 60, 20


class Broken:
    """A layer behind a proxy, on a server that others reach directly."""

    def __init__(self, server: EmbeddedServer, layers: Layers, proxy: TcpProxy) -> None:
        self.server = server
        self.proxy = proxy
        self.layer = layers(hosts=[proxy.url])
        self.sender = layers()

    def claims(self) -> list[bytes]:
        """Return all that is claimed, in all claims."""
        with self.server.client() as client:
            keys = [key for key in client.keys("*claims*") if isinstance(key, bytes)]
            return [bytes(member) for key in keys for member in client.zrange(key, 0, -1)]

    def add(self, channel: str, number: int) -> None:
        """Add a message as `channels_redis` does: without a bell."""
        message = {"number": number, "__asgi_channel__": channel}
        with self.server.client() as client:
            client.zadd(beside(self.layer, channel).key, {self.serialized(message): time.time()})

    def serialized(self, message: dict[str, object]) -> bytes:
        """Return a message as it stands in Redis."""
        return self.layer.serialize(message)


@pytest.fixture
async def broken(
    own_server: EmbeddedServer,
    proxy: TcpProxy,
    own_layers: Layers,
    monkeypatch: pytest.MonkeyPatch,
) -> Broken:
    """Return a layer whose connections can be broken."""
    monkeypatch.setattr(WAIT, LONG_WAIT)
    monkeypatch.setattr(GENERAL_WAIT, LONG_WAIT)
    return Broken(own_server, own_layers, proxy)


async def channel_of(layer: RedisChannelLayer, kind: str) -> str:
    """Return a channel of one of the two kinds."""
    return await layer.new_channel() if kind == "specific" else "jobs"


@pytest.mark.parametrize("kind", ["specific", "general"])
async def test_reply_of_a_take_is_lost(broken: Broken, kind: str) -> None:
    """Messages that the server had handed over are received, once and at once."""
    layer = broken.layer
    channel = await channel_of(layer, kind)
    for number in range(ROUNDS):
        receiver = await blocked(broken.server, layer, channel)
        loss = broken.proxy.lose_reply()
        await broken.sender.send(channel, {"number": number})
        await within(loss.happened.wait())
        assert await within(receiver, AT_ONCE) == {"number": number}
    await nothing_else(layer, channel)


async def test_acknowledgement_that_did_not_arrive(broken: Broken) -> None:
    """It is repeated with the first take of the next connection."""
    layer = broken.layer
    channel = await layer.new_channel()
    receiver = await blocked(broken.server, layer, channel)
    for number in range(ROUNDS):
        await broken.sender.send(channel, {"number": number})
        assert await within(receiver) == {"number": number}
        receiver = await blocked(broken.server, layer, channel)
        # The take that acknowledges the message waits behind the reader's wait.
        assert len(broken.claims()) == 1
        broken.proxy.cut()
        await eventually(lambda: not broken.claims(), timeout=AT_ONCE)
        await eventually(lambda: is_blocked(broken.server))


@pytest.mark.parametrize("where", ["claims", "key"])
async def test_what_a_failover_brings_back(broken: Broken, where: str) -> None:
    """A replica may lack an acknowledgement or a take: nothing is received twice for that."""
    layer = broken.layer
    channel = await layer.new_channel()
    receiver = await blocked(broken.server, layer, channel)
    await broken.sender.send(channel, {"number": 0})
    assert await within(receiver) == {"number": 0}
    receiver = await blocked(broken.server, layer, channel)
    with broken.server.client() as client:
        [key] = [key for key in client.keys("*claims*") if isinstance(key, bytes)]
        [(message, score)] = client.zrange(key, 0, -1, withscores=True)
        await broken.sender.send(channel, {"number": 1})
        assert await within(receiver) == {"number": 1}
        receiver = await blocked(broken.server, layer, channel)
        back = key if where == "claims" else beside(layer, channel).key.encode()
        client.zadd(back, {message: score})
    broken.proxy.cut()
    await broken.sender.send(channel, {"number": 2})
    assert await within(receiver) == {"number": 2}
    for _ in range(2):
        await nothing_else(layer, channel)
    await eventually(lambda: message not in broken.claims(), timeout=AT_ONCE)


async def test_general_channel_message_without_a_bell(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign sender's message is found after the wait."""
    monkeypatch.setattr(GENERAL_WAIT, 1)
    for number in range(2):
        receiver = await blocked(broken.server, broken.layer, "jobs")
        broken.add("jobs", number)
        assert (await within(receiver, AT_ONCE))["number"] == number


async def test_scripts_that_the_server_has_forgotten(broken: Broken) -> None:
    """SCRIPT FLUSH, as a restart does it, costs neither a message nor an error."""
    layer = broken.layer
    for kind in ("specific", "general"):
        channel = await channel_of(layer, kind)
        for number in range(ROUNDS):
            receiver = await blocked(broken.server, layer, channel)
            with broken.server.client() as client:
                client.script_flush()
            await layer.send(channel, {"number": number})
            assert await within(receiver, AT_ONCE) == {"number": number}
            await nothing_else(layer, channel)
