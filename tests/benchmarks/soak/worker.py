"""One process of the soak: consumers of one layer, at the driver's command."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from benchmarks.catalogue import OURS
from benchmarks.soak.diary import Diary
from benchmarks.soak.figures import figures
from benchmarks.soak.plan import EXPIRY, GROUP_EXPIRY
from benchmarks.soak.residents import JOBS, Residents, talk
from benchmarks.soak.threads import Synchronous
from benchmarks.soak.visits import Visit, any_visit
from support.worker import arguments, async_requests, reply

if TYPE_CHECKING:
    from channels.layers import BaseChannelLayer

VISITORS = 6  # at once
# Seconds between two visits of one visitor, and two messages to all residents: so slow that some
# of these processes leave a small machine idle for most of the time.
ABSENCE = 0.5
SILENCE = 0.2
# More than can wait: what is dropped for want of room is no loss that a soak looks for.
CAPACITY = 10_000


class Crowd:
    """Visitors and talkers, who are there when there is load."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._active = asyncio.Event()
        self._threads = Synchronous(visit)
        coroutines = [self._talk(), *(self._come_and_go() for _ in range(VISITORS))]
        self._tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]

    def set_active(self, *, active: bool) -> None:
        """Begin, or let the visits under way be the last."""
        (self._active.set if active else self._active.clear)()
        self._threads.set_active(active=active)

    async def _come_and_go(self) -> None:
        while True:
            await self._active.wait()
            # In a task of its own, as each consumer is.
            await asyncio.create_task(any_visit(self._visit))
            await asyncio.sleep(random.uniform(0, 2 * ABSENCE))

    async def _talk(self) -> None:
        while True:
            await self._active.wait()
            while self._active.is_set():
                await self._say()
                await asyncio.sleep(random.uniform(0, 2 * SILENCE))
            # A connection that was killed is opened again when it is used: so each is, for a calm.
            await self._say()

    async def _say(self) -> None:
        try:
            await talk(self._visit.layer, self._visit.notes)
        except (RedisError, OSError):
            self._visit.notes.refused += 1


def make_layer(kind: str, url: str, client_name: str) -> BaseChannelLayer:
    """Return one of our layers, whose connections the server knows by name."""
    options: dict[str, Any] = {"expiry": EXPIRY, "group_expiry": GROUP_EXPIRY}
    return import_string(OURS[kind])(
        hosts=[{"address": url, "client_name": client_name}],
        capacity=CAPACITY,
        **(options if kind == "queue" else {}),
    )


async def main() -> None:
    """Serve the driver until it has no more requests."""
    given = arguments()
    kind, author, client_name = given["layer"], given["author"], given["client_name"]
    layer = make_layer(kind, given["url"], client_name)
    notes = Diary(author)
    keeps = kind == "queue"
    # In the queue layer one of all workers gets a message, in Pub/Sub each of them does.
    residents = Residents(layer, notes, JOBS if keeps else f"{JOBS} of {author}")
    await residents.move_in()
    crowd = Crowd(Visit(layer, notes, keeps))
    reply(ready=True)
    async for request in async_requests():
        if "active" in request:
            crowd.set_active(active=request["active"])
        reply(figures=figures(layer, tidy=request.get("tidy", False)), **notes.take())


if __name__ == "__main__":
    asyncio.run(main())
