"""Content of presence's keys that no layer wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from channels_redis_shared.presence.keys import PresenceKeys
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from presence.conftest import Processes

BAD = (b"", b"\xff", b"nan", b"inf", b"1e300", b"-", b"9" * 5000, b"[" * 5000, b"[5", b"{}")


@pytest.mark.usefixtures("quick_beats")
async def test_person_comes_and_goes(processes: Processes, redis_server: EmbeddedServer) -> None:
    """Neither times, counts, names nor metas that can't be read keep anyone from being seen."""
    here, there = processes(), processes()
    keys = PresenceKeys(here.layer.presence_key_head)
    rooms = [f"room{number}" for number in range(len(BAD))]
    with redis_server.client() as client:
        for room, content in zip(rooms, BAD, strict=True):
            lines = b"dead" + content
            client.hset(keys.people(room), mapping={"": content, "ann": lines, content: lines})
            client.hset(keys.groups, mapping={room: 1, content: content})
            client.zadd(keys.heartbeats, {content: 1})
        client.zadd(keys.heartbeats, {"past": "-inf", "dead": 2, "never": "inf"})
        watchers = {room: await there.watch(room) for room in rooms}
        channels = {room: await here.open(room, "ann", 1) for room in rooms}
        for room, channel in channels.items():
            assert 1 in (await within(there.presence.list(room)))["ann"]
            await within(here.presence.track(room, channel, "ann", 2))
        # The silent ones are found dead, and removed.
        await eventually(lambda: client.zcard(keys.heartbeats) == 2)
    for room, watcher in watchers.items():
        assert (await within(here.presence.list(room)))["ann"] == [2]
        await within(here.presence.untrack(room, channels[room]))
        while ("leaves", "ann") not in watcher.events:
            await watcher.look()
