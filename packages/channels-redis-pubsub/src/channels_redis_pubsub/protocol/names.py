"""Names of channels and groups, and what they are on the wire. `channels_redis` shares them."""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Checking a name takes as long as packing a message, so this many are remembered.
REMEMBERED = 1000


def of_groups(prefix: str) -> str:
    """Return what the Redis channels of a layer's groups begin with."""
    return f"{prefix}__group__"


class Names:
    """Makes and checks the names of one layer.

    Args:
        prefix: Begins the names of new channels, and the Redis channels of groups.
        require_channel: Raises TypeError for what Channels does not accept as a channel's name.
        require_group: Does so for the name of a group.
    """

    def __init__(
        self,
        prefix: str,
        require_channel: Callable[[str], object],
        require_group: Callable[[str], object],
    ) -> None:
        self._prefix = prefix
        self._groups = of_groups(prefix)
        self._require_channel = require_channel
        self._require_group = require_group
        self._checked = lru_cache(REMEMBERED)(self._check)
        self._topics = lru_cache(REMEMBERED)(self._make_topic)

    def new_channel(self, kind: str) -> str:
        """Return a new channel's name: the layer's prefix, the caller's, and 32 hex digits.

        Raises:
            TypeError: The caller's prefix makes no valid name.
        """
        if not isinstance(kind, str) or "!" in kind:
            raise TypeError(f"the prefix of a new channel must be a str without '!', not {kind!r}")
        channel = f"{self._prefix}{kind}{secrets.token_hex(16)}"
        try:
            self._check(channel)
        except TypeError as error:
            raise TypeError(f"the prefix {kind!r} makes no valid channel name: {error}") from None
        return channel

    def require_channel(self, channel: str) -> None:
        """Raise TypeError if it is no channel's name: one of Channels, or that with our prefix.

        On the server, a channel has its own name.
        """
        if not isinstance(channel, str):
            self._require_channel(channel)
        self._checked(channel)

    def topic(self, group: str) -> str:
        """Return the Redis channel of a group.

        Raises:
            TypeError: No group's name.
        """
        if not isinstance(group, str):
            self._require_group(group)
        return self._topics(group)

    def _check(self, channel: str) -> None:
        if channel.startswith(self._groups):
            raise TypeError(f"{channel!r} is the Redis channel of a group: use group_send for it")
        # The prefix may hold characters that names otherwise may not.
        self._require_channel(channel.removeprefix(self._prefix) or channel)

    def _make_topic(self, group: str) -> str:
        self._require_group(group)
        return self._groups + group
