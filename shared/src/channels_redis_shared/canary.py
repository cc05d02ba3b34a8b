"""Find out whether a server has lost what was written there.

One that comes back empty, or as it was some time ago, shows it in no other way than in a key that
counts the looks: the canary. Each node of a Cluster has its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .transport.commands import Script

if TYPE_CHECKING:
    from .transport.commands import CommandClient

# Sent with its source, so without the comments.
SWAP = Script.of(re.sub(r"(?m)^--.*\n", "", Script.read(__package__, "swap").source))


class Canary:
    """The canary of a process on one server, or on a node of a Cluster.

    Args:
        key: The key, on that node.
        ttl: Seconds that the key lives without a look.
    """

    def __init__(self, key: str, ttl: int) -> None:
        self._key = key
        self._ttl = ttl
        # Its value as long as the server has lost nothing.
        self._count = 0

    async def look(self, commands: CommandClient) -> bool:
        """Return whether the server may have lost data since the latest look.

        Raises:
            redis.exceptions.RedisError: The server is away. The next look decides.
        """
        before_it, count = self._count, self._count + 1
        command = SWAP.call_with_source([self._key], count, self._ttl)
        before = await commands.execute(command, key=self._key, idempotent=True)
        self._count = count
        # The new count itself is no proof: a lost reply may have reported a loss.
        return before_it > 0 and before != b"%d" % before_it
