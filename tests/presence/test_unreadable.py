"""Content of presence's keys that no layer wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from channels_redis_shared.presence.keys import PresenceKeys
from channels_redis_shared.presence.metas import lines_of, metas_in
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from presence.conftest import Process

BAD = (b"", b"\xff", b"nan", b"inf", b"1e300", b"-", b"9" * 5000, b"text", b"[" * 5000)


@pytest.mark.parametrize("metas", [*BAD, b"5", b"{}", b"null"], ids=range(12))
def test_metas_that_are_none(metas: bytes) -> None:
    """They are left out, and the person stays."""
    assert [metas_in(data) for _, data in lines_of(b"0af" + metas)] == [[]]


@pytest.mark.usefixtures("quick_beats")
@pytest.mark.parametrize("content", BAD, ids=range(9))
async def test_person_comes_and_goes(
    processes: Callable[..., Process], redis_server: EmbeddedServer, content: bytes
) -> None:
    """Neither times, counts, names nor metas that can't be read keep anyone from being seen."""
    here, there = processes([redis_server.url]), processes([redis_server.url])
    watcher = await there.watch("room")
    keys = PresenceKeys(here.layer.presence_key_head)
    with redis_server.client() as client:
        lines = b"dead" + content
        client.hset(keys.people("room"), mapping={"": content, "ann": lines, content: lines})
        client.hset(keys.groups, mapping={"room": 1, content: content})
        client.zadd(keys.heartbeats, {"past": "-inf", content: 1, "dead": 2, "never": "inf"})
        channel = await here.open("room", "ann", 1)
        assert 1 in (await within(there.presence.list("room")))["ann"]
        await within(here.presence.track("room", channel, "ann", 2))
        # The silent ones are found dead, and removed.
        await eventually(lambda: client.zcard(keys.heartbeats) == 2)
        assert (await within(here.presence.list("room")))["ann"] == [2]
        await within(here.presence.untrack("room", channel))
        while ("leaves", "ann") not in watcher.events:
            await watcher.look()
