"""Make and check the names of channels and groups; on the wire as in `channels_redis`."""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Names whose check is cached, as it takes as long as packing a message.
CACHE_SIZE = 1000
# The digits of a process, a 0, and more digits. In a UUID, the 0 would be its version, from 1 on:
# so the names of channels_redis 4, and others that end in a UUID, belong to no process.
_MADE = re.compile(r"([0-9a-f]{12})0[0-9a-f]{19}")


def new_process() -> str:
    """Return 12 hex digits that name a process in the names of its channels."""
    return secrets.token_hex(6)


def of_groups(prefix: str) -> str:
    """Return the prefix of the Redis channels of a layer's groups."""
    return f"{prefix}__group__"


class Names:
    """Make and check the names of one layer.

    Args:
        prefix: Begins the names of new channels, and the Redis channels of groups.
        require_channel: Raises TypeError if Channels does not accept the name of a channel.
        require_group: Raises TypeError if Channels does not accept the name of a group.
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
        # `require_channel` and `topic` for texts.
        self.cached_check = lru_cache(CACHE_SIZE)(self._check)
        self.cached_topic = lru_cache(CACHE_SIZE)(self._make_topic)

    def new_channel(self, kind: str, process: str) -> str:
        """Return a new channel's name: the layer's prefix, `kind`, and 32 hex digits.

        Args:
            kind: Follows the layer's prefix.
            process: What `new_process` has returned for this process.

        Raises:
            TypeError: `kind` makes no valid name.
        """
        if not isinstance(kind, str) or "!" in kind:
            raise TypeError(f"the prefix of a new channel must be a str without '!', not {kind!r}")
        channel = f"{self._prefix}{kind}{process}0{secrets.token_hex(10)[1:]}"
        try:
            self._check(channel)
        except TypeError as error:
            raise TypeError(f"the prefix {kind!r} makes no valid channel name: {error}") from None
        return channel

    def process_of(self, channel: str) -> str | None:
        """Return the digits of the process that made a channel; None if any may receive from it."""
        found = _MADE.fullmatch(channel[-32:]) if channel.startswith(self._prefix) else None
        return found and found[1]

    def require_channel(self, channel: str) -> None:
        """Raise TypeError unless the name is valid in Channels, or is so without our prefix."""
        if not isinstance(channel, str):
            self._require_channel(channel)
        self.cached_check(channel)

    def topic(self, group: str) -> str:
        """Return the Redis channel of a group.

        Raises:
            TypeError: Not a valid name of a group.
        """
        if not isinstance(group, str):
            self._require_group(group)
        return self.cached_topic(group)

    def group(self, topic: bytes) -> str:
        """Return the group that a Redis channel is of."""
        return topic.decode().removeprefix(self._groups)

    def _check(self, channel: str) -> None:
        if channel.startswith(self._groups):
            raise TypeError(f"{channel!r} is the Redis channel of a group: use group_send for it")
        # The prefix may hold characters that names otherwise may not.
        self._require_channel(channel.removeprefix(self._prefix) or channel)

    def _make_topic(self, group: str) -> str:
        self._require_group(group)
        return self._groups + group
