"""The consumers of a worker that stay for the whole run."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from benchmarks.soak import diary
from benchmarks.soak.plan import GROUP_EXPIRY, RESIDENTS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from channels.layers import BaseChannelLayer

    from benchmarks.soak.diary import Diary

GROUP = "residents"
JOBS = "jobs"
RETRY = 0.2  # seconds until a resident whom the server has refused tries again


class Residents:
    """Members of one group, and a reader of the general channel that all workers read.

    Args:
        layer: The layer that is soaked.
        notes: The worker's diary.
        jobs_reader: Whom to note as the reader of what comes on the general channel.
    """

    def __init__(self, layer: BaseChannelLayer, notes: Diary, jobs_reader: str) -> None:
        self._layer = layer
        self._notes = notes
        self._jobs_reader = jobs_reader
        self._channels: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def move_in(self) -> None:
        """Return when all of them are there, however long the server is away."""
        while len(self._channels) < RESIDENTS:
            with contextlib.suppress(RedisError):
                channel = await self._layer.new_channel()
                self._channels.append(channel)
                self._begin(self._listen(channel, channel))
            await asyncio.sleep(0)
        self._begin(self._listen(JOBS, self._jobs_reader))
        while not await self._join():
            await asyncio.sleep(RETRY)
        self._begin(self._renew())

    async def _join(self) -> bool:
        try:
            for channel in self._channels:
                await self._layer.group_add(GROUP, channel)
        except RedisError:
            return False
        return True

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(GROUP_EXPIRY / 4)
            await self._join()

    async def _listen(self, channel: str, reader: str) -> None:
        while True:
            self._notes.received(await self._layer.receive(channel), reader)

    def _begin(self, coroutine: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(coroutine))


async def talk(layer: BaseChannelLayer, notes: Diary) -> None:
    """Send one message to all residents, and one to the general channel."""
    for send, target, audience in (
        (layer.group_send, GROUP, diary.RESIDENTS),
        (layer.send, JOBS, diary.JOBS),
    ):
        message, at = notes.message(), diary.now()
        await send(target, message)
        notes.sent(message, at, audience)
