"""Senders of one process: tasks, and a thread with synchronous code."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull

from soak.journal import DIRECT, FAILED, GENERAL, GROUP, OK, UNKNOWN
from soak.load import GROUPS, JOBS, SOLO, padding

if TYPE_CHECKING:
    import threading

    from soak.consumers import Site


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
            await self._send()
            await asyncio.sleep(site.about(site.load.pause))

    def run_in_thread(self, active: threading.Event) -> None:
        """Send likewise, from synchronous code, until the process ends."""
        site = self._site
        while True:
            active.wait()
            # The coroutine is of the thread alone: async_to_sync makes a loop for it.
            async_to_sync(self._send)()
            time.sleep(site.about(site.load.pause))

    async def _send(self) -> None:
        site = self._site
        kind, to = self._choose()
        message: dict[str, Any] = {"id": site.journal.new_id()}
        if extra := padding(site.chance):
            message["pad"] = bytes(extra)
        outcome, error = UNKNOWN, "cancelled"
        site.journal.note("send", id=message["id"], sender=self._name, kind=kind, to=to)
        try:
            await self._call(kind, to, message)
        except ChannelFull as full:
            outcome, error = FAILED, repr(full)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the checker has to know
            # Without the padding that some errors quote.
            error = repr(raised)[:200]
        else:
            outcome, error = OK, ""
        finally:
            site.journal.note("sent", id=message["id"], outcome=outcome, error=error)

    async def _call(self, kind: str, to: str, message: dict[str, Any]) -> None:
        layer = self._site.layer
        await (layer.group_send if kind == GROUP else layer.send)(to, message)

    def _choose(self) -> tuple[str, str]:
        """Return the kind and the target of a message."""
        chance, known = self._site.chance, self._site.known
        kind = chance.choices((DIRECT, GROUP, GENERAL), (50, 30, 20))[0]
        if kind == GROUP:
            return kind, chance.choice(GROUPS)
        if kind == GENERAL:
            # One name in three of those with a single reader.
            single = [name for name in known if name.startswith(SOLO)]
            return kind, chance.choice(single) if single and chance.random() < 1 / 3 else JOBS
        own = [name for name in known if not name.startswith(SOLO)]
        return (kind, chance.choice(own)) if own else (GENERAL, JOBS)
