"""The connections, receivers and background tasks of one event loop, closed together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from ._shared.concurrency import BackgroundTasks, timeout
from .receiver import SERVING, Receiver

logger = logging.getLogger(__package__)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from ._shared.transport.commands import Shards

# Seconds that leaving groups may take as a loop ends.
LEAVE_TIMEOUT = 2


class LoopState:
    """The connections, receivers and background tasks of one event loop.

    Args:
        shards: The command connections.
        start_maintenance: Starts the background tasks of a loop that receives.
        leave: Tells Redis what has ended with the loop; called if it has received.
    """

    def __init__(
        self,
        shards: Shards,
        start_maintenance: Callable[[LoopState], object],
        leave: Callable[[Shards], Awaitable[None]],
    ) -> None:
        self.shards = shards
        self._start_maintenance = start_maintenance
        self._leave = leave
        self._receivers: list[Receiver] = []
        self._tasks = BackgroundTasks(logger)

    def keep(self, receiver: Receiver) -> None:
        """Stop the receiver when the loop ends."""
        if not self._receivers:
            self._start_maintenance(self)
        self._receivers = [other for other in self._receivers if other.state in SERVING]
        self._receivers.append(receiver)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine until it returns or the loop ends."""
        return self._tasks.spawn(coroutine)

    async def close(self) -> None:
        """Stop everything and close all connections."""
        # Not forgotten here: if the loop ends amid this, it is done once more.
        receivers = self._receivers
        await asyncio.gather(
            self._tasks.end(),
            *(receiver.stop() for receiver in receivers),
        )
        if receivers:
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(LEAVE_TIMEOUT):
                    await self._leave(self.shards)
        await self.shards.close()

    def abandon(self) -> None:
        """Forget the outages: the event loop is already closed."""
        for receiver in self._receivers:
            receiver.abandon()
