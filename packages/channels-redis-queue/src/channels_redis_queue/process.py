"""Puts together the parts that a layer has in one process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from . import scripts, upkeep
from ._shared.callers import Callers
from ._shared.loops import LoopLocal
from ._shared.mailbox import Mailboxes
from ._shared.overflows import OverflowLog
from ._shared.shards import Shards
from .fan_out import FanOut
from .groups import Groups
from .home import Home
from .keys import new_process_id
from .memberships import Memberships
from .reception import Reception

if TYPE_CHECKING:
    from .delivery import Parcel
    from .settings import Settings

logger = logging.getLogger(__package__)


class Process:
    """One layer in one process: its identity, its members, its mailboxes, its event loops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Of the layer and the process: else two aliases of one layer, or the children of one
        # preloaded parent, would take each other's messages.
        self.id = new_process_id()
        self.homes = LoopLocal(self._make_home)
        self.callers = Callers(self.homes.here)
        self.memberships = Memberships(settings.group_expiry)
        self.mailboxes: Mailboxes[Parcel] = Mailboxes(
            settings.capacity, OverflowLog(logger).dropped
        )
        self.groups = Groups(settings, lambda: self.shards, self.memberships)
        self.fan_out = FanOut(settings, lambda: self.shards)
        self.reception = Reception(
            settings, self.mailboxes, self.memberships, self.homes, self._deserted
        )

    @property
    def shards(self) -> Shards:
        """The command connections of the running event loop."""
        return self.homes.get().shards

    def _make_home(self) -> Home:
        return Home(Shards(self._settings.connectors, scripts.ALL), self._start_upkeep)

    def _start_upkeep(self, home: Home) -> None:
        settings = self._settings
        for shard in range(len(home.shards)):
            guard = upkeep.Guard(shard, home.shards, settings.keys, self.id, self.memberships)
            home.spawn(guard.watch(self.groups.restore))
        home.spawn(upkeep.sweep(settings.expiry, self.mailboxes, self.memberships, self._deserted))

    def _deserted(self, virtual: str) -> None:
        self.homes.get().spawn(self.groups.forget(virtual))
