"""A worker's synchronous code, in a thread: calls, and short-lived event loops."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync
from redis.exceptions import RedisError

from benchmarks.soak import diary
from benchmarks.soak.residents import GROUP

if TYPE_CHECKING:
    from benchmarks.soak.visits import Visit

PAUSE = 0.4  # seconds between two things that the thread does
SHORT_LOOPS = 0.15  # how many of them are event loops
CLOSED_BARE = 0.3  # the share of these that are closed without cleanup


class Synchronous:
    """A daemon thread that calls the layer as views and background jobs do."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._active = threading.Event()
        threading.Thread(target=self._run, name="soak", daemon=True).start()

    def set_active(self, *, active: bool) -> None:
        """Begin, or come to rest after the call under way."""
        (self._active.set if active else self._active.clear)()

    def _run(self) -> None:
        while True:
            self._active.wait()
            while self._active.is_set():
                self._try()
                time.sleep(random.uniform(0, 2 * PAUSE))
            # Opens what was killed, as nothing else will in a calm; and the next loop drops what
            # the layer has kept for one that was closed without cleanup.
            self._try(loop=False)
            self._try(loop=True, bare=False)

    def _try(self, *, loop: bool | None = None, bare: bool | None = None) -> None:
        try:
            if random.random() < SHORT_LOOPS if loop is None else loop:
                self._short_loop(bare=random.random() < CLOSED_BARE if bare is None else bare)
            else:
                self._call()
        except (RedisError, OSError, asyncio.TimeoutError):
            self._visit.notes.refused += 1

    def _call(self) -> None:
        notes = self._visit.notes
        message, at = notes.message(), diary.now()
        async_to_sync(self._visit.layer.group_send)(GROUP, message)
        notes.sent(message, at, diary.RESIDENTS)

    def _short_loop(self, *, bare: bool) -> None:
        if not bare:
            asyncio.run(self._stay())
            return
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._stay())
        finally:
            loop.close()

    async def _stay(self) -> None:
        """Be a consumer, and clear up nothing: that the loop ends has to be enough."""
        visit = self._visit
        channel = await visit.layer.new_channel()
        await visit.layer.group_add("short", channel)
        await visit.expect(channel)
        if visit.keeps:
            # A reader of its own in this loop: those of the process are in the other one. Few
            # names, since commands of a loop closed without cleanup are kept for the next reader.
            await visit.expect(f"short-{random.randrange(3)}-{visit.notes.author}")
