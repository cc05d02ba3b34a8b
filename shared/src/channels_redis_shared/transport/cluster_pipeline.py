"""Send each command to the owner of its slot in a Redis Cluster, in one write for each node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cluster import Cluster, slot_of
from .commands import PendingCommand, Shards
from .pipeline import AutoPipeline, Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..ops.statistics import Counters
    from .commands import Script
    from .connector import Connector


class ClusterPipeline(AutoPipeline):
    """The command connections to the nodes of one Cluster.

    What a node redirects, or can't be reached for, is held until the slot map has been fetched
    again. Commands for other slots continue.

    Args:
        cluster: Opens the connections.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
    """

    def __init__(
        self, cluster: Cluster, scripts: Sequence[Script] = (), counters: Counters | None = None
    ) -> None:
        super().__init__(cluster, scripts, counters)
        self._cluster: Cluster = cluster
        # The slot map whose owners the connections are for.
        self._layout = cluster.layout
        # The owners of slots for which calls were pending there as the map changed.
        self._former: dict[int | None, Lane] = {}

    def _put(self, call: PendingCommand) -> None:
        slot = call.slot
        if slot is None and call.key is not None:
            slot = call.slot = slot_of(call.key)
        if self._layout is not self._cluster.layout:
            self._follow_slots()
        # The calls for one slot stay in order: behind those not answered yet, or held already.
        lane = self._former.get(slot)
        if lane is None or slot not in lane.slots():
            self._former.pop(slot, None)
            lane = self._owner_lane(slot)
        if lane is None or slot in self._held:
            self._hold([call], self._error)
        else:
            lane.put(call)

    def _owner_lane(self, slot: int | None) -> Lane | None:
        if slot is None:
            return self._lane_to(self._cluster)
        owner = self._layout[slot]
        return None if owner is None else self._lane_to(self._cluster.node(owner))

    def _follow_slots(self) -> None:
        """Follow a change of the slot map, which all parts of the process share."""
        self._layout = self._cluster.layout
        self._former = {slot: lane for lane in self._lanes.values() for slot in lane.slots()}
        in_charge = {self._cluster, *map(self._cluster.node, self._cluster.owners())}
        for connector, lane in list(self._lanes.items()):
            lane.keeps_connection = self._keeps_connection and connector in in_charge
            if not lane.keeps_connection and not lane.is_busy:
                lane.release()
                del self._lanes[connector]


def pipeline_to(
    connector: Connector, scripts: Sequence[Script], counters: Counters
) -> AutoPipeline:
    """Return the command connections of the running loop to a host.

    Args:
        connector: Opens the connections.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
    """
    if isinstance(connector, Cluster):
        return ClusterPipeline(connector, scripts, counters)
    return AutoPipeline(connector, scripts, counters)


def shards_to(
    connectors: Sequence[Connector], scripts: Sequence[Script], counters: Counters
) -> Shards:
    """Return the command connections of the running loop to several hosts; see `pipeline_to`."""
    return Shards([pipeline_to(one, scripts, counters) for one in connectors])
