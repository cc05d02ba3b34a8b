"""The server goes away and comes back, with or without its data."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest
import redis.exceptions

from channels_redis_queue import RedisChannelLayer
from embedded_server import EmbeddedServer
from support.messages import cancel, take, take_numbers, within
from support.queue_layers import Layers, StartRemoteLayer, blocked, nothing_else, sent, waiting
from support.waiting import eventually, until

if TYPE_CHECKING:
    from support.layers import LayerClass

AWAY = 2


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of what was logged, from INFO on."""
    records = [record for record in caplog.records if record.name == "channels_redis_queue"]
    return [record.levelname for record in records if record.levelno >= logging.INFO]


async def test_server_is_away(
    own_server: EmbeddedServer, own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """20 consumers wait through 2 s without a server; one WARNING, one INFO; then all goes on."""
    caplog.set_level(logging.INFO)
    layer = own_layers()
    sender = own_layers(hosts=[{"address": own_server.url, "socket_timeout": 1}])
    channels = [await layer.new_channel() for _ in range(17)] + ["jobs", "mails", "work"]
    receivers = [await blocked(own_server, layer, channel) for channel in channels]
    own_server.kill()
    gone = time.monotonic()
    with pytest.raises(redis.exceptions.ConnectionError):
        await within(sender.send("jobs", {"type": "lost"}), 15)
    await until(gone + AWAY)
    own_server.start()
    back = time.monotonic()
    await asyncio.gather(*(eventually(lambda name=name: sent(sender, name)) for name in channels))  # type: ignore[misc]
    for message in await within(asyncio.gather(*receivers)):
        assert message == {"type": "hello"}
    assert time.monotonic() - back < 10
    await eventually(lambda: levels(caplog) == ["WARNING", "INFO"])
    lost, found = (record.getMessage() for record in caplog.records if record.levelno >= 20)
    assert str(own_server.port) in lost
    assert str(own_server.port) in found


async def test_second_outage_is_logged_as_well(
    own_server: EmbeddedServer, own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when what received during the first one was closed while it lasted."""
    caplog.set_level(logging.INFO)
    layer = own_layers()
    receiver = await blocked(own_server, layer, "jobs")
    own_server.kill()
    await eventually(lambda: levels(caplog) == ["WARNING"])
    await cancel(receiver)
    await within(layer.close_pools())
    own_server.start()
    receiver = await blocked(own_server, layer, "jobs")
    caplog.clear()
    own_server.kill()
    await eventually(lambda: levels(caplog) == ["WARNING"])
    own_server.start()
    await eventually(lambda: levels(caplog) == ["WARNING", "INFO"])
    await cancel(receiver)


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


async def test_server_comes_back_empty(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """Group messages reach the old members within 10 s, with nothing done by the consumers."""
    layer, sender = own_layers(), own_layers()
    channels = [await layer.new_channel() for _ in range(20)]
    for number, channel in enumerate(channels):
        await layer.group_add(f"room-{number}", channel)
        await layer.group_add("room", channel)
    receivers = [await waiting(layer, channel) for channel in channels]
    own_server.restart(empty=True)
    back = time.monotonic()

    async def reached() -> bool:
        for room in ["room", *(f"room-{number}" for number in range(20))]:
            await sender.group_send(room, {"type": "hello"})
        return all(receiver.done() for receiver in receivers)

    await eventually(lambda: sent(sender, "jobs"))
    await eventually(reached)
    assert time.monotonic() - back < 10
    assert [receiver.result() for receiver in receivers] == [{"type": "hello"}] * 20


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


async def test_send_raises_in_time(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """Without a server, and with one that answers nothing, callers get an error in time."""
    host = {"address": own_server.url, "socket_timeout": 1, "socket_connect_timeout": 1}
    layer = own_layers(hosts=[host])
    await layer.send("jobs", {"type": "hello"})
    for go_away, come_back in (
        (own_server.pause, own_server.resume),
        (own_server.kill, own_server.start),
    ):
        go_away()
        started = time.monotonic()
        calls = [layer.send("jobs", {"n": 1}), layer.group_send("room", {"n": 1})]
        results = await within(asyncio.gather(*calls, return_exceptions=True))
        assert all(isinstance(result, redis.exceptions.RedisError) for result in results)
        assert time.monotonic() - started < 4
        come_back()
        await eventually(lambda: sent(layer, "jobs"))


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


def refuses(client: redis.Redis, code: str) -> bool:
    """Return whether the server answers a command with this error."""
    try:
        client.ping()
    except redis.exceptions.ResponseError as error:
        return code in str(error)
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

            def refuses() -> bool:
                try:
                    client.get("key0")
                except redis.exceptions.BusyLoadingError:
                    return True
                return False

            await eventually(refuses)
            await within(layer.send("jobs", {"number": 1}))
            await within(loading)
        assert [await take(layer, "jobs") for _ in range(2)] == [{"number": 0}, {"number": 1}]
        await nothing_else(layer, "jobs")
        await within(layer.close_pools())


async def test_send_that_is_given_up_in_an_outage(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """It is not sent later: a caller that sends again sends once."""
    layer = own_layers()
    own_server.kill()
    first = asyncio.create_task(layer.send("jobs", {"number": 0}))
    await asyncio.wait([first], timeout=0.2)
    assert not first.done()
    await cancel(first)
    second = asyncio.create_task(layer.send("jobs", {"number": 1}))
    own_server.start()
    await within(second)
    assert await take(layer, "jobs") == {"number": 1}
    await nothing_else(layer, "jobs")


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
        with own_server.client() as client:
            await eventually(lambda: client.info("clients")["connected_clients"] == 1)
