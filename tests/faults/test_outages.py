"""The server goes away and comes back, with or without its data."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis.exceptions

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from embedded_server import EmbeddedServer
from support.layers import reaches
from support.messages import cancel, joined, take, take_numbers, within
from support.queue_layers import Layers, StartRemoteLayer, nothing_else, sent, waiting
from support.waiting import all_closed, eventually, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.layers import LayerClass

    MakeLayer = Callable[..., Any]

HELLO = {"type": "hello"}
AWAY = 2.5  # seconds; longer than the longest wait between two tries
TIMEOUT = 2  # seconds; the default is 5


def short(server: EmbeddedServer) -> list[dict[str, Any]]:
    """Return the option `hosts` with a short time limit."""
    return [
        {"address": server.url, "socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT},
    ]


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of what the layer has logged, from INFO on."""
    records = [record for record in caplog.records if record.name.startswith("channels_redis_")]
    return [record.levelname for record in records if record.levelno >= logging.INFO]


async def test_server_is_away(
    own_server: EmbeddedServer, make_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """Consumers wait, whenever they began; one WARNING, one INFO; then messages flow soon.

    So they do in a process that starts meanwhile, and its first call fails with the address.
    """
    caplog.set_level(logging.INFO)
    layer, started = make_layer(), make_layer()
    sender = make_layer(hosts=short(own_server))
    channels = [await joined(layer, "room") for _ in range(17)]
    receivers = {channel: await waiting(layer, channel) for channel in channels}
    own_server.kill()
    gone = time.monotonic()
    receivers["jobs"] = asyncio.create_task(layer.receive("jobs"))
    receivers["mails"] = asyncio.create_task(started.receive("mails"))
    with pytest.raises(redis.exceptions.ConnectionError, match=str(own_server.port)):
        await within(sender.send("jobs", {"type": "lost"}))
    await until(gone + AWAY)
    assert not any(receiver.done() for receiver in receivers.values())
    own_server.start()
    back = time.monotonic()
    for channel, receiver in receivers.items():
        assert await reaches(receiver, partial(sender.send, channel, HELLO)) == HELLO
    assert time.monotonic() - back < 5
    await eventually(lambda: levels(caplog) == ["WARNING"] * 2 + ["INFO"] * 2)
    for record in caplog.records:
        assert str(own_server.port) in record.getMessage()


async def test_second_outage_is_logged_as_well(
    own_server: EmbeddedServer, make_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when what received during the first one was closed while it lasted."""
    caplog.set_level(logging.INFO)
    layer = make_layer()
    receiver = await waiting(layer, "jobs")
    own_server.kill()
    await eventually(lambda: levels(caplog) == ["WARNING"])
    await cancel(receiver)
    await within(layer.close_pools())
    own_server.start()
    receiver = await waiting(layer, "jobs")
    caplog.clear()
    own_server.kill()
    await eventually(lambda: levels(caplog) == ["WARNING"])
    own_server.start()
    await eventually(lambda: levels(caplog) == ["WARNING", "INFO"])
    await cancel(receiver)


@pytest.mark.parametrize("how", ["frozen", "gone"])
async def test_calls_raise_in_time(
    own_server: EmbeddedServer, make_layer: MakeLayer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers get redis-py's error after `socket_timeout`; of what failed nothing is left."""
    layer = make_layer(hosts=short(own_server))
    channel = await joined(layer, "room")
    await within(layer.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO
    calls = [layer.send("jobs", HELLO), layer.group_send("room", HELLO)]
    calls.append(layer.group_add("another", channel))
    if isinstance(layer, RedisPubSubChannelLayer):
        calls.append(layer.new_channel())
    if how == "frozen":
        own_server.pause()
    else:
        own_server.kill()
        if isinstance(layer, RedisPubSubChannelLayer):
            await eventually(lambda: levels(caplog) == ["WARNING"])
            calls.append(layer.group_add("room", channel))
    started = time.monotonic()
    results = await within(asyncio.gather(*calls, return_exceptions=True))
    seconds = time.monotonic() - started
    assert all(isinstance(result, redis.exceptions.RedisError) for result in results), results
    # What was to follow on a frozen connection waits for a new one, too.
    assert seconds < (1.9 if how == "gone" else 2.9) * TIMEOUT
    if how == "frozen":
        own_server.resume()
    else:
        own_server.start()
    await eventually(lambda: sent(layer, "jobs"))
    if how == "gone":
        # Returns when the layer hears what is sent.
        await within(layer.group_add("room", channel))
        await within(layer.group_send("another", HELLO))
        await nothing_else(layer, channel)


async def test_calls_begun_in_an_outage_succeed_when_it_is_short(
    own_server: EmbeddedServer, make_layer: MakeLayer
) -> None:
    """Those within the time limit before the server's return, but none that was given up."""
    layer = make_layer()
    channel = await joined(layer, "room")
    own_server.kill()
    given_up = asyncio.create_task(layer.send(channel, {"type": "given.up"}))
    await asyncio.wait([given_up], timeout=0.2)
    assert not given_up.done()
    await cancel(given_up)
    joining = asyncio.gather(layer.group_add("room", channel), joined(layer, "room"))
    sending = asyncio.create_task(layer.send("jobs", HELLO))
    await asyncio.wait([sending], timeout=0.1)
    own_server.start()
    await within(sending)
    _, other = await within(joining)
    await within(layer.group_send("room", HELLO))
    for name in (channel, other):
        assert await take(layer, name) == HELLO
        await nothing_else(layer, name)


async def test_messages_survive_with_the_server(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Messages on a server that keeps its data are received after it is back."""
    layer, sender = own_layers(), own_layers()
    own = await layer.new_channel()
    for channel in (own, "jobs"):
        for number in range(20):
            await sender.send(channel, {"number": number})
    first = await take_numbers(layer, own, 1)
    own_server.restart(empty=False)
    for channel in (own, "jobs"):
        count = 20 - (channel == own)
        got = await take_numbers(layer, channel, count)
        assert (first if channel == own else []) + got == list(range(20))
        await eventually(lambda name=channel: sent(sender, name))  # type: ignore[misc]
        assert await take(layer, channel) == {"type": "hello"}
        await nothing_else(layer, channel)


@pytest.mark.parametrize("who_lost", ["restart", "flushall"])
async def test_another_process_right_after(
    own_server: EmbeddedServer, own_layers: Layers, remote_layer: StartRemoteLayer, who_lost: str
) -> None:
    """A discard and a join by another process hold, although the server has just lost all."""
    layer = own_layers()
    other = await remote_layer(**own_layers.options)
    leaves, stays, joins = [await layer.new_channel() for _ in range(3)]
    await layer.group_add("room", leaves)
    await layer.group_add("room", stays)
    receiver = await waiting(layer, stays)
    if who_lost == "restart":
        own_server.restart(empty=True)
    else:
        with own_server.client() as client:
            client.flushall()
    await other.group_discard("room", leaves)
    await other.group_add("room", joins)
    await other.group_send("room", {"number": -1})

    async def reached() -> bool:
        await layer.group_send("room", {"number": -1})
        return receiver.done()

    await eventually(lambda: sent(layer, "jobs"))
    await eventually(reached)
    await other.group_send("room", {"number": 0})
    for channel in (stays, joins):
        numbers = []
        while 0 not in numbers:
            numbers += await take_numbers(layer, channel, 1)
        assert set(numbers) <= {-1, 0}
        assert numbers.count(0) == 1
        await nothing_else(layer, channel)
    await nothing_else(layer, leaves)


async def test_consumer_starts_while_a_script_keeps_the_server(
    own_server: EmbeddedServer, own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """A site that starts while the server says BUSY waits, and works when the script has ended."""
    layer = own_layers()
    channel = await layer.new_channel()
    with own_server.client() as client, own_server.client() as killer:
        client.config_set("busy-reply-threshold", 10)
        stuck = asyncio.create_task(
            asyncio.to_thread(client.execute_command, "EVAL", "while true do end", 0)
        )
        await eventually(lambda: refuses(killer, "BUSY"))
        receiving = [asyncio.create_task(layer.receive(name)) for name in (channel, "jobs")]
        await eventually(lambda: "BUSY" in caplog.text)
        killer.script_kill()
        with pytest.raises(redis.exceptions.ResponseError):
            await stuck
    for number, name in enumerate((channel, "jobs")):
        await eventually(lambda name=name: sent(layer, name))  # type: ignore[misc]
        assert await within(receiving[number]) == {"type": "hello"}


def refuses(client: redis.Redis, words: str) -> bool:
    """Return whether the server answers a command with an error that has these words."""
    try:
        client.get("key")
    except redis.exceptions.RedisError as error:
        return words in str(error)
    return False


async def test_server_loads_its_data() -> None:
    """A message that it refuses for that is sent once it is done, and once only."""
    slowly = ("enable-debug-command yes", "loading-process-events-interval-bytes 1024")
    with EmbeddedServer(*slowly) as server, server.client() as client:
        layer = RedisChannelLayer(hosts=[server.url])
        await within(layer.send("jobs", {"number": 0}))
        client.config_set("key-load-delay", 500)  # microseconds
        client.mset({f"key{number}": "x" * 100 for number in range(3000)})
        with server.client() as other:
            loading = asyncio.create_task(asyncio.to_thread(other.execute_command, "DEBUG RELOAD"))

            await eventually(lambda: refuses(client, "loading"))
            await within(layer.send("jobs", {"number": 1}))
            await within(loading)
        assert [await take(layer, "jobs") for _ in range(2)] == [{"number": 0}, {"number": 1}]
        await nothing_else(layer, "jobs")
        await within(layer.close_pools())


@pytest.mark.parametrize("cancelled_after", [None, 0, 0.1])
async def test_closing(
    own_server: EmbeddedServer, layer_class: LayerClass, cancelled_after: float | None
) -> None:
    """It leaves no task and no connection, also if it is cancelled amid an outage."""
    layer = layer_class(hosts=[own_server.url])
    # A closed layer can be used again.
    for _ in range(2):
        channel = await within(layer.new_channel())
        await within(layer.group_add("room", channel))
        waiter = asyncio.create_task(layer.receive(channel))
        await within(layer.group_send("room", {"type": "hello"}))
        assert await within(waiter) == {"type": "hello"}
        assert len(asyncio.all_tasks()) > 1
        if cancelled_after is None:
            await within(layer.close_pools())
        else:
            own_server.pause()
            closing = asyncio.create_task(layer.close_pools())
            await asyncio.sleep(cancelled_after)
            closing.cancel()
            own_server.resume()
            await within(asyncio.wait([closing]))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await all_closed(own_server)
