"""The methods of the layer that only look: at groups, at itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._shared.concurrency.process_local import ProcessLocal
    from ._shared.ops.statistics import Statistics
    from .broker import QueueBroker


class Queries:
    """What the layer inherits, besides Channels' own base class."""

    _broker: ProcessLocal[QueueBroker]
    _groups_by_process: bool

    if TYPE_CHECKING:

        def require_valid_group_name(self, name: object) -> bool:
            """Raise TypeError if it is no valid name; Channels brings this."""

    async def group_count(self, group: str) -> int:
        """Return how many channels are members of a group, in all processes, at this moment.

        A `group_add` or `group_discard` shows at once. A consumer that ended without
        `group_discard` counts for up to `expiry` seconds more, those of a process that was killed
        for up to a minute, a general channel for `group_expiry` seconds. Costs two round trips and
        no more for a thousand members than for one.

        Raises:
            TypeError: No valid group name.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        broker = self._broker.get()
        count = (
            broker.groups.count_channels if self._groups_by_process else broker.groups.count_names
        )
        return await count(group, broker.shards)

    async def group_channels(self, group: str) -> list[str]:
        """Return the channels that `group_count` counts, in no order.

        Raises:
            TypeError: No valid group name.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        broker = self._broker.get()
        return await broker.groups.channels(group, broker.shards)

    def statistics(self) -> Statistics:
        """Return what the layer has done in this process, and has now. Costs no command."""
        return self._broker.get().statistics()
