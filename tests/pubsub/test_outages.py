"""Memberships that end in an outage, and rights that the server does not give."""

from __future__ import annotations

import asyncio
import gc

import pytest
from redis.exceptions import NoPermissionError

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

HELLO = {"type": "hello"}


def allow(layers: Layers, password: str, *rights: str) -> dict[str, str]:
    """Set the channels that a user has rights to; return the server as its host."""
    with layers.server.client() as client:
        rule = ("site", "on", f">{password}", "+@all", "resetchannels", *rights)
        client.execute_command("ACL", "SETUSER", *rule)
    return {"address": layers.server.url, "username": "site", "password": password}


async def test_group_discard_needs_no_server(own_layers: Layers) -> None:
    """Leaving a group works while the server is away, and holds when it is back."""
    layer = own_layers(**NOTICES)
    channel, stays = await joined(layer, "room"), await layer.new_channel()
    own_layers.server.kill()
    assert await take(layer, channel) == LOST
    await within(layer.group_discard("room", channel))
    own_layers.server.start()
    assert await take_many(layer, stays, 2) == [LOST, BACK]
    assert await take(layer, channel) == BACK
    assert subscribed(own_layers.server) == {channel, stays}


async def test_calls_that_gave_up_leave_nothing(own_layers: Layers) -> None:
    """In an outage, a group that has members keeps nothing of each join that was cancelled."""
    layer = own_layers(**NOTICES)
    channel, other = await joined(layer, "room"), await layer.new_channel()
    own_layers.server.kill()
    assert await take(layer, channel) == LOST

    def futures() -> int:
        return sum(isinstance(one, asyncio.Future) for one in gc.get_objects())

    before = futures()
    for _ in range(100):
        joining = asyncio.create_task(layer.group_add("room", other))
        await asyncio.sleep(0)
        await cancel(joining)
    assert futures() < before + 10


async def test_wrong_password_that_no_call_is_told_of(
    own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """A `receive` that polls has gone when the server refuses the settings: they are logged."""
    host = allow(own_layers, "secret", "allchannels")
    layer = own_layers(hosts=[{**host, "password": "late"}])
    receiver = asyncio.create_task(layer.receive("jobs"))
    while "jobs" not in inside(layer).hub and not receiver.done():
        await asyncio.sleep(0)
    await cancel(receiver)
    receiver = await waiting(layer, "jobs")
    await eventually(lambda: "invalid username-password" in caplog.text)
    allow(own_layers, "late", "allchannels")
    await eventually(lambda: "jobs" in subscribed(own_layers.server))
    await within(layer.send("jobs", HELLO))
    assert await within(receiver) == HELLO


async def test_forbidden_channel_is_told_at_once(own_layers: Layers) -> None:
    """A subscription that the ACL forbids is an error only of its caller."""
    layer = own_layers(hosts=[allow(own_layers, "secret", "&asgi*")])
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


@pytest.mark.usefixtures("frequent_probes")
async def test_right_that_was_taken_away_and_given_back(
    own_layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """The members of refused topics are told when these are back; all others are told before."""
    layer = own_layers(hosts=[allow(own_layers, "secret", "allchannels")], **NOTICES)
    unharmed = await joined(layer)
    members = [await joined(layer, *(f"room-{n}" for n in range(30))) for _ in range(2)]
    # The server closes the connection of who has lost a right that it uses.
    allow(own_layers, "secret", "&asgispecific*")
    assert await take_many(layer, unharmed, 2) == [LOST, BACK]
    for member in members:
        assert await take(layer, member) == LOST
        await within(layer.send(member, HELLO))
        assert await take(layer, member) == HELLO
    allow(own_layers, "secret", "&asgi*")
    for member in members:
        assert await take(layer, member) == BACK
        await within(layer.group_send("room-29", HELLO))
        assert await take(layer, member) == HELLO
    await nothing_else(layer, unharmed)
    assert caplog.text.count("refuses asgi__group__room-") == 1
