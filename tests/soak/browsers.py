"""Browsers that come back: each says which message of its group it has seen last."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from soak.consumers import RETRY
from soak.journal import GAP, OVERFLOW
from soak.load import KEPT
from support.messages import cancel

if TYPE_CHECKING:
    from soak.consumers import Site

BROWSERS = 4  # in each process
LIFE = 12.0  # the mean of the seconds that a browser is connected
# The mean of the seconds that it is not: twice that is less than a pause of the load.
OFFLINE = 2.0
LEAVES = 0.5  # the share of its connections that end with a group_discard


class Browser:
    """A browser, which outlives its connections, and the process that it is connected to.

    Args:
        site: The process.
        number: Tells it from others at the same place in the fleet.
    """

    def __init__(self, site: Site, number: int) -> None:
        self._site = site
        # A process that replaces a killed one has its browsers.
        place = site.journal.by.partition(".")[0]
        self._name = f"browser {place}/{number}"
        self._group = KEPT[number % len(KEPT)]
        journals = site.journal.path.parent.glob(f"{place}.*.jsonl")
        events = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
        own = [one for one in events if self._name in {one.get("browser"), one.get("channel")}]
        latest = max(own, key=lambda event: float(event["time"]), default=None)
        self._position: str | None = latest and latest["position"]

    async def run(self) -> None:
        """Connect and disconnect, again and again; without load, be connected."""
        while True:
            # In its own task, as each consumer is: a layer sees a channel's end by its task's.
            await asyncio.create_task(self._visit())
            await asyncio.sleep(self._site.about(OFFLINE))

    async def _visit(self) -> None:
        """Be connected for a while."""
        site = self._site
        channel = await self._connect()
        receiving = asyncio.create_task(self._receive(channel))
        try:
            await asyncio.wait([receiving], timeout=site.about(LIFE))
            while not site.active.is_set() and not receiving.done():
                await asyncio.wait([receiving], timeout=RETRY)
        finally:
            await cancel(receiving)
            self._note("disconnect")
        if not receiving.cancelled():
            receiving.result()
        if site.chance.random() < LEAVES:
            with site.expecting_errors("group_discard", channel):
                await site.layer.group_discard(self._group, channel)

    async def _connect(self) -> str:
        """Return a channel that gets what this browser has not seen."""
        layer, channel = self._site.layer, ""
        while True:
            self._note("connect")
            with self._site.expecting_errors("group_add", self._name):
                channel = channel or await layer.new_channel()
                joined = await layer.group_add(self._group, channel, since=self._position)
                if self._position is None or not joined.recovered:
                    self._position = joined.position
                self._note("connected", recovered=joined.recovered)
                return channel
            await asyncio.sleep(RETRY)

    async def _receive(self, channel: str) -> None:
        while True:
            try:
                message: dict[str, Any] = await self._site.layer.receive(channel)
            except Exception as error:  # noqa: BLE001 - none is expected, whatever it is
                self._site.note_error("receive", channel, error)
                await asyncio.sleep(RETRY)
                continue
            if "id" in message:
                self._position = message["__asgi_position__"]
                self._site.journal.note(
                    "receipts", channel=self._name, id=message["id"], position=self._position
                )
            elif message["type"] in {GAP, OVERFLOW}:
                self._position = message.get("__asgi_position__", self._position)
                self._note("told")

    def _note(self, kind: str, **details: Any) -> None:
        self._site.journal.note(
            "browsers",
            browser=self._name,
            kind=kind,
            group=self._group,
            position=self._position,
            **details,
        )
