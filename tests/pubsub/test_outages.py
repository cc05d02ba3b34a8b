"""While the server is away: what waits, what fails and when, and what the log says."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from support.messages import cancel, joined, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    inside,
    nothing_else,
    subscribed,
    waiting,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_pubsub import RedisPubSubChannelLayer
    from embedded_server import EmbeddedServer

LOGGER = "channels_redis_pubsub"
TIMEOUT = 0.5  # seconds; the default is 5
HELLO = {"type": "hello"}


def short(server: EmbeddedServer) -> list[dict[str, Any]]:
    """Return the option `hosts` with a short time limit."""
    return [{"address": server.url, "socket_timeout": TIMEOUT}]


async def test_outage_of_seconds(
    own_server: EmbeddedServer, own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told and logged once; `receive` waits, also from within it; soon messages flow."""
    layer, silent = own_layers(**NOTICES), own_layers()
    channels = [await joined(layer, f"room-{number}") for number in range(50)]
    unnoticed = [await waiting(silent, await joined(silent, "room-0"))]

    def levels() -> list[str]:
        return [one.levelname for one in caplog.records if own_server.url in one.getMessage()]

    with caplog.at_level(logging.INFO, LOGGER):
        own_server.kill()
        for channel in channels:
            assert await take(layer, channel) == LOST
        receivers = [await waiting(layer, channel) for channel in channels]
        unnoticed.append(asyncio.create_task(silent.receive("jobs")))
        # Longer than the longest wait between two tries.
        done, _ = await asyncio.wait([*receivers, *unnoticed], timeout=2.5)
        assert not done
        own_server.start()
        began = time.monotonic()
        assert await within(receivers[0]) == BACK
        assert time.monotonic() - began < 2
        assert await within(asyncio.gather(*receivers)) == [BACK] * len(channels)
        await eventually(lambda: levels() == ["WARNING"] * 2 + ["INFO"] * 2)  # for two layers
    await within(layer.group_send("room-0", HELLO))
    await within(layer.send("jobs", HELLO))
    assert await within(asyncio.gather(*unnoticed)) == [HELLO] * 2
    assert await take(layer, channels[0]) == HELLO
    for channel in channels:
        await nothing_else(layer, channel)


Call = Callable[["RedisPubSubChannelLayer", str], Awaitable[object]]
CALLS: dict[str, Call] = {
    "new_channel": lambda layer, _channel: layer.new_channel(),
    "group_add": lambda layer, channel: layer.group_add("another", channel),
    "group_add of a member": lambda layer, channel: layer.group_add("room", channel),
    "send": lambda layer, channel: layer.send(channel, HELLO),
    "group_send": lambda layer, _channel: layer.group_send("room", HELLO),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_calls_fail_in_bounded_time(
    own_server: EmbeddedServer, own_layers: Layers, call: Call
) -> None:
    """Calls that need the server raise redis-py's error after `socket_timeout`, without effect."""
    layer = own_layers(hosts=short(own_server), **NOTICES)
    channel = await joined(layer, "room")
    own_server.kill()
    assert await take(layer, channel) == LOST
    began = time.monotonic()
    with pytest.raises((RedisConnectionError, RedisTimeoutError)):
        await within(call(layer, channel))
    assert time.monotonic() - began < TIMEOUT + 3
    assert len(inside(layer).hub.topics()) == 2
    own_server.start()
    assert await take(layer, channel) == BACK
    await within(layer.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO
    await nothing_else(layer, channel)


async def test_group_discard_needs_no_server(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Leaving a group works while the server is away, and holds when it is back."""
    layer = own_layers(**NOTICES)
    channel, stays = await joined(layer, "room"), await layer.new_channel()
    own_server.kill()
    assert await take(layer, channel) == LOST
    await within(layer.group_discard("room", channel))
    own_server.start()
    assert await take_many(layer, stays, 2) == [LOST, BACK]
    assert await take(layer, channel) == BACK
    assert subscribed(own_server) == {channel, stays}


async def test_calls_begun_in_an_outage_succeed_when_it_is_short(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """Calls within the time limit before the server's return succeed."""
    layer = own_layers(**NOTICES)
    channel = await layer.new_channel()
    own_server.kill()
    assert await take(layer, channel) == LOST
    calls = [
        asyncio.create_task(layer.group_add("room", channel)),
        asyncio.create_task(joined(layer, "room")),
    ]
    own_server.start()
    await within(asyncio.gather(*calls))
    other = calls[1].result()
    await within(layer.group_send("room", HELLO))
    assert await take(layer, str(other)) == HELLO
    assert await take_many(layer, channel, 2) == [BACK, HELLO]


async def test_server_that_is_down_at_the_start(
    own_server: EmbeddedServer, own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """A first call fails with an error that names the host; when the server is there, all works."""
    own_server.kill()
    layer = own_layers(hosts=short(own_server), **NOTICES)
    with pytest.raises(RedisConnectionError, match=str(own_server.port)):
        await within(layer.new_channel())
    receiver = asyncio.create_task(layer.receive("jobs"))
    await eventually(lambda: "WARNING" in caplog.text)
    own_server.start()
    await eventually(lambda: "jobs" in subscribed(own_server))
    await within(layer.send("jobs", HELLO))
    assert await within(receiver) == HELLO
    await nothing_else(layer, await within(layer.new_channel()))


async def test_wrong_password_that_no_call_is_told_of(
    own_server: EmbeddedServer, own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """A `receive` that polls has gone when the server refuses the settings: they are logged."""
    rights = ["ACL", "SETUSER", "site", "on", "+@all", "allchannels"]
    with own_server.client() as client:
        client.execute_command(*rights, ">right")
    layer = own_layers(hosts=[{"address": own_server.url, "username": "site", "password": "late"}])
    receiver = asyncio.create_task(layer.receive("jobs"))
    while "jobs" not in inside(layer) and not receiver.done():
        await asyncio.sleep(0)
    await cancel(receiver)
    receiver = await waiting(layer, "jobs")
    await eventually(lambda: "invalid username-password" in caplog.text)
    with own_server.client() as client:
        client.execute_command(*rights, ">late")
    await eventually(lambda: "jobs" in subscribed(own_server))
    await within(layer.send("jobs", HELLO))
    assert await within(receiver) == HELLO


async def test_forbidden_channel_is_told_at_once(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A subscription that the ACL forbids is an error only of its caller."""
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "site", "on", ">secret", "+@all", "resetchannels", "&asgi*"
        )
    host = {"address": own_server.url, "username": "site", "password": "secret"}
    layer = own_layers(hosts=[host])
    allowed = [asyncio.create_task(joined(layer, f"room-{number}")) for number in range(5)]
    refused = asyncio.create_task(layer.receive("jobs"))
    with pytest.raises(NoPermissionError, match="permission"):
        await within(refused)
    with pytest.raises(NoPermissionError, match="permission"):
        await within(layer.receive("jobs"))
    channels = await within(asyncio.gather(*allowed))
    for number, channel in enumerate(channels):
        await within(layer.group_send(f"room-{number}", HELLO))
        assert await take(layer, channel) == HELLO


async def test_right_that_was_taken_away_and_given_back(
    own_server: EmbeddedServer,
    own_layers: Layers,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The members of refused topics are told when these are back; all others are told before."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.1)
    rights = ["ACL", "SETUSER", "site", "on", ">secret", "+@all", "resetchannels"]
    with own_server.client() as client:
        client.execute_command(*rights, "allchannels")
    host = {"address": own_server.url, "username": "site", "password": "secret"}
    layer = own_layers(hosts=[host], **NOTICES)
    unharmed = await joined(layer)
    members = [await joined(layer, *(f"room-{n}" for n in range(30))) for _ in range(2)]
    with own_server.client() as client:
        # The server closes the connection of who has lost a right that it uses.
        client.execute_command(*rights, "&asgispecific*")
        assert await take_many(layer, unharmed, 2) == [LOST, BACK]
        for member in members:
            assert await take(layer, member) == LOST
            await within(layer.send(member, HELLO))
            assert await take(layer, member) == HELLO
        client.execute_command(*rights, "&asgi*")
    for member in members:
        assert await take(layer, member) == BACK
        await within(layer.group_send("room-29", HELLO))
        assert await take(layer, member) == HELLO
    await nothing_else(layer, unharmed)
    assert caplog.text.count("refuses asgi__group__room-") == 1
