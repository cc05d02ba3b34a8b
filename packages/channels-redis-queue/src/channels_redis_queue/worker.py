"""A worker: consumers that do the jobs of general channels, as many at a time as it has taken."""

from __future__ import annotations

import asyncio
import copy
import logging
import signal
from typing import TYPE_CHECKING, Any

from asgiref.compatibility import guarantee_single_callable
from asgiref.sync import ThreadSensitiveContext
from channels.exceptions import StopConsumer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from .layer import RedisChannelLayer

logger = logging.getLogger("channels_redis_queue")

# Seconds that interrupted handlers have to clean up.
CLEANUP_TIMEOUT = 1


class _CannotReceive(Exception):
    """Raised through a consumer when its layer's settings don't fit the server."""


class Worker:
    """Run consumers for general channels, until a signal ends it.

    Args:
        application: The site's ASGI application, with a route for each channel.
        layer: The layer to receive from.
        channels: General channels.
        concurrency: The number of jobs of each channel that run at the same time.
        grace: Seconds that running jobs have to end after a signal.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        layer: RedisChannelLayer,
        channels: Iterable[str],
        concurrency: int,
        grace: float,
    ) -> None:
        self._layer = layer
        self._grace = grace
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        application = guarantee_single_callable(application)  # type: ignore[no-untyped-call]
        self._slots = [
            _Slot(application, layer, channel, self._stop)
            for channel in channels
            for _ in range(concurrency)
        ]

    async def run(self) -> bool:
        """Work until SIGTERM or SIGINT; a second one ends the grace.

        Returns:
            False if jobs were interrupted, and went back to their channels.

        Raises:
            Exception: What a consumer raised before it asked for a job: it has no route, for
                example.
            redis.exceptions.RedisError: The server doesn't accept the layer's settings.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        tasks: dict[asyncio.Future[Any], _Slot]
        tasks = {loop.create_task(slot.run()): slot for slot in self._slots}
        stopped: asyncio.Future[Any] = loop.create_task(self._stop.wait())
        failed, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
        self._stop.set()
        for task, slot in tasks.items():
            if slot.job is None:
                task.cancel()
        hurry: asyncio.Future[Any] = loop.create_task(self._hurry.wait())
        ended: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait({ended, hurry}, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CLEANUP_TIMEOUT)
        hurry.cancel()
        interrupted = [slot for slot in self._slots if slot.job is not None]
        for slot in interrupted:
            await slot.put_back()
        await self._layer.close_pools()
        for task in failed - {stopped}:
            await task
        return not interrupted

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()


class _Slot:
    """A place for one job at a time: a consumer asks for the next one when it has done the last."""

    def __init__(
        self,
        application: Callable[..., Any],
        layer: RedisChannelLayer,
        channel: str,
        stop: asyncio.Event,
    ) -> None:
        self._application = application
        self._layer = layer
        self._channel = channel
        self._stop = stop
        self._has_asked = False
        # The message that the consumer is handling.
        self.job: dict[str, Any] | None = None

    async def run(self) -> None:
        """Run one consumer after the other: each until a handler fails."""
        # Synchronous handlers of a process share one thread unless each slot has a context. It is
        # not left, since that would block the event loop until the thread has ended.
        await ThreadSensitiveContext().__aenter__()  # type: ignore[no-untyped-call]
        while not self._stop.is_set():
            scope = {"type": "channel", "channel": self._channel}
            try:
                await self._application(scope, self._receive, _refuse_to_send)
            except _CannotReceive as error:
                raise error.__cause__ or error from None
            except Exception:
                if not self._has_asked:
                    raise
                logger.exception("A job in %s failed", self._channel)
            self.job = None

    async def put_back(self) -> None:
        """Send the job again, since it was not done."""
        try:
            await self._layer.send(self._channel, self.job or {})
        except Exception:
            logger.exception("A job in %s was interrupted and is lost", self._channel)
        else:
            logger.warning("A job in %s was interrupted and is back in its queue", self._channel)

    async def _receive(self) -> dict[str, Any]:
        self.job = None
        self._has_asked = True
        if self._stop.is_set():
            raise StopConsumer
        try:
            message = await self._layer.receive(self._channel)
        except Exception as error:
            raise _CannotReceive from error
        # Handlers may change their message.
        self.job = copy.deepcopy(message)
        return message


async def _refuse_to_send(_message: dict[str, Any]) -> NoReturn:
    raise RuntimeError(
        "A consumer of a general channel has no client to send to: use channel_layer.send or "
        "group_send"
    )
