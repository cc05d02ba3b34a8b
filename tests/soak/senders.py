"""Senders of one process: tasks, and a thread with synchronous code."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull

from soak.consumers import visit
from soak.journal import DIRECT, FAILED, GENERAL, GROUP, OK, RECOVERABLE, UNKNOWN
from soak.load import GROUPS, JOBS, KEPT, PAUSE, SOLO, VISITS, padding

if TYPE_CHECKING:
    from soak.consumers import Site

BURSTS = (1, 1, 1, 4)  # messages that a sender may send in one turn
RECOVERABLES = 0.3  # the share of messages to groups with a history, if there are any
BARE = 0.3  # the share of these loops that are closed without cleanup


class Sender:
    """Sends one message after the other, and notes what became of each call.

    Args:
        site: The process.
        name: No other sender has it.
    """

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._name = name

    async def run(self) -> None:
        """Send while there is load."""
        site = self._site
        while True:
            await site.active.wait()
            await self._send_some()
            await asyncio.sleep(site.about(PAUSE))

    def run_in_thread(self, *, visits: bool) -> None:
        """Send likewise, from synchronous code, until the process ends.

        Args:
            visits: Whether it runs consumers in event loops of their own, too.
        """
        site = self._site
        self._wait_for_load()
        # To all nodes of a Cluster: a connection opened later would count as growth.
        for group in GROUPS:
            async_to_sync(self.send)(GROUP, group)
        while True:
            self._wait_for_load()
            while site.active.is_set():
                if visits and site.chance.random() < VISITS:
                    self._visit(bare=site.chance.random() < BARE)
                else:
                    # The coroutine is of the thread alone: async_to_sync makes a loop for it.
                    async_to_sync(self._send_some)()
                time.sleep(site.about(PAUSE))
            # The next loop drops what the layer has kept for one closed without cleanup.
            if visits:
                self._visit(bare=False)

    def _wait_for_load(self) -> None:
        while not self._site.active.is_set():
            time.sleep(0.05)

    def _visit(self, *, bare: bool) -> None:
        """Run a consumer in its own event loop.

        Args:
            bare: Whether the loop is closed without cleanup.
        """
        visiting = visit(self._site, partial(self.send, DIRECT))
        if not bare:
            asyncio.run(visiting)
            return
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(visiting)
        finally:
            loop.close()

    async def send(self, kind: str, to: str) -> int:
        """Send one message, and return its number."""
        site, layer = self._site, self._site.layer
        message: dict[str, Any] = {"id": site.journal.new_id()}
        if extra := padding(site.chance):
            message["pad"] = bytes(extra)
        outcome, error = UNKNOWN, "cancelled"
        note = site.journal.note(
            "sends", "begun", id=message["id"], sender=self._name, kind=kind, to=to
        )
        try:
            await (layer.group_send if kind in {GROUP, RECOVERABLE} else layer.send)(to, message)
        except ChannelFull as full:
            outcome, error = FAILED, repr(full)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the checker has to know
            # Without the padding that some errors quote.
            error = repr(raised)[:200]
        else:
            outcome, error = OK, ""
        finally:
            note("ended", outcome=outcome, error=error)
        return int(message["id"])

    async def _send_some(self) -> None:
        """Send one message, or some to the same target without a pause."""
        kind, to = self._choose()
        for _ in range(self._site.chance.choice(BURSTS)):
            await self.send(kind, to)

    def _choose(self) -> tuple[str, str]:
        """Return the kind and the target of a message."""
        chance, known = self._site.chance, self._site.known
        if self._site.recovery and chance.random() < RECOVERABLES:
            return RECOVERABLE, chance.choice(KEPT)
        kind = chance.choices((DIRECT, GROUP, GENERAL), (50, 30, 20))[0]
        if kind == GROUP:
            return kind, chance.choice(GROUPS)
        if kind == GENERAL:
            # One name in three of those with a single reader.
            single = [name for name in known if name.startswith(SOLO)]
            return kind, chance.choice(single) if single and chance.random() < 1 / 3 else JOBS
        own = [name for name in known if not name.startswith(SOLO)]
        return (kind, chance.choice(own)) if own else (GENERAL, JOBS)
