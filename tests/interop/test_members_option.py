"""The option `groups` in a mixed fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.fleet import fleet_of

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer


@pytest.mark.parametrize("groups", ["processes", "members"])
async def test_groups_option(groups: str, redis_server: EmbeddedServer, prefix: str) -> None:
    """A `channels_redis` process can take a member of ours out only if its name is in Redis."""
    settings = {"hosts": [redis_server.url], "prefix": prefix}
    async with fleet_of("queue", settings, groups=groups) as fleet:
        channel = await fleet.ours.channel()
        await fleet.ours.call("group_add", "room", channel)
        await fleet.theirs.call("group_discard", "room", channel)
        for sender in (fleet.ours, fleet.theirs):
            await sender.call("group_send", "room", {"type": "to.the.group"})
        await fleet.ours.call("send", channel, {"type": "last"})
        heard = [] if groups == "members" else [{"type": "to.the.group"}] * 2
        await fleet.ours.got({channel: [*heard, {"type": "last"}]})
