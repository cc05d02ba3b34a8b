"""Content of presence's keys that no layer wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from channels_redis_shared.presence.keys import PresenceKeys
from channels_redis_shared.presence.state import metas_in
from presence.conftest import shards
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from presence.conftest import Process

BAD = (b"", b"\xff", b"nan", b"inf", b"1e300", b"-", b"9" * 5000, b"text", b"[" * 5000)

# JSON that no message can hold.
UNSENDABLE = (b"[18446744073709551616]", b'["\\ud800"]')


@pytest.mark.parametrize("metas", [*BAD, b"5", b"{}", b"null", b"[NaN]"], ids=range(13))
def test_metas_that_are_none(metas: bytes) -> None:
    """They are left out, and the person stays."""
    assert metas_in(metas) == []


@pytest.mark.parametrize("content", [*BAD, *UNSENDABLE], ids=range(11))
async def test_person_comes_and_goes(
    processes: Callable[..., Process], redis_server: EmbeddedServer, content: bytes
) -> None:
    """Neither times, counts, names nor metas that can't be read keep anyone from being seen."""
    here, there = processes([redis_server.url]), processes([redis_server.url])
    watcher = await there.watch("room")
    keys = PresenceKeys(here.layer.presence_key_head)
    with redis_server.client() as client:
        client.hset(keys.people("room"), mapping={"": content, "ann": content, content: content})
        client.sadd(keys.processes("room"), content, "dead")
        client.hset(keys.local_people("room", "dead"), content or b"x", content)
        client.sadd(keys.groups("dead"), "room", content)
        client.zadd(keys.leases, {"past": "-inf", content: 1, "dead": 2, "never": "inf"})
        channel = await here.open("room", "ann", 1)
        assert (await within(there.presence.list("room")))["ann"] == [1]
        await within(here.presence.track("room", channel, "ann", 2))
        for shard in shards(here):
            # Claims the three leases, and removes the people of the dead process.
            for _ in range(3):
                async with shard._renewing:
                    await within(shard._renew())
        await within(here.presence.untrack("room", channel))
        while ("leaves", "ann") not in watcher.events:
            await watcher.look()
        assert not any(task.done() for shard in shards(here) for task in shard._tasks)
