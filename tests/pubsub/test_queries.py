"""Queries that Pub/Sub can't answer raise."""

from __future__ import annotations

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer


async def test_members_of_groups_are_unknown() -> None:
    """`group_count` and `group_channels` raise NotImplementedError, which says what can tell."""
    layer = RedisPubSubChannelLayer()
    for method in (layer.group_count, layer.group_channels):
        with pytest.raises(NotImplementedError, match="Use the queue layer") as raised:
            await method("room")
        assert "the group 'room'" in str(raised.value)
