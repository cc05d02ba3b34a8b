"""Start and end tasks.

Also `timeout`, for every supported Python and for tests that freeze the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .clock import monotonic

if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable

Value = TypeVar("Value")

# Return the event loop that runs in this thread, or None; for event loops, which need it often.
running_loop: Callable[[], asyncio.AbstractEventLoop | None] = asyncio._get_running_loop  # noqa: SLF001

# Seconds after which a task that still runs is cancelled again. What a task sends as it ends has to
# take less.
CANCEL_INTERVAL = 2.0


def start_task(coroutine: Coroutine[Any, Any, Value]) -> asyncio.Task[Value]:
    """Start a background task in the running event loop.

    Its context is empty, as it outlives the consumer that started it. It never begins before this
    returns: a loop's `asyncio.eager_task_factory` would run it before its caller has stored it.
    """
    loop = asyncio.get_running_loop()
    task = contextvars.Context().run(partial(asyncio.Task, coroutine, loop=loop))
    # It ends with its event loop, also with one that is closed without cancelling its tasks.
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    return task


def begun(
    function: Callable[..., Coroutine[Any, Any, Value]], *arguments: Any
) -> Coroutine[Any, Any, Value]:
    """Return the coroutine of a task that may start in the last turn of its event loop.

    Python warns of a coroutine that has never begun: this one has, and calls the function later.
    """
    coroutine = _call_later(function, *arguments)
    coroutine.send(None)
    return coroutine


async def _call_later(
    function: Callable[..., Coroutine[Any, Any, Value]], *arguments: Any
) -> Value:
    await asyncio.sleep(0)
    return await function(*arguments)


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait until it has ended.

    One call of `cancel` might not be enough: on Python 3.10 a `timeout` that expires in the same
    turn of the loop swallows the cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_INTERVAL)


async def first_result(
    coroutines: Iterable[Coroutine[Any, Any, Value]], failures: tuple[type[Exception], ...]
) -> tuple[Value | None, list[Exception]]:
    """Run coroutines concurrently until one returns; cancel the others.

    Args:
        coroutines: The coroutines. None of them returns None.
        failures: The errors after which another may still succeed.

    Returns:
        The result, or None if all have failed; and their errors.
    """
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    errors: list[Exception] = []
    try:
        for finished in asyncio.as_completed(tasks):
            try:
                return await finished, errors
            except failures as error:
                errors.append(error)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return None, errors


class timeout:  # noqa: N801 - asyncio's name for it
    """Raise `asyncio.TimeoutError` if the body takes longer, by a clock that is not frozen."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> None:
        """Begin to count."""
        self._task = asyncio.current_task()
        if sys.version_info >= (3, 11) and self._task is not None:
            self._cancelling = self._task.cancelling()
        self._loop, self._deadline = asyncio.get_running_loop(), monotonic() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._check)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raise the error if it was this that has cancelled the body."""
        self._timer.cancel()
        if self._expired and sys.version_info >= (3, 11) and self._task is not None:
            self._expired = self._task.uncancel() <= self._cancelling
        if self._expired and kind is asyncio.CancelledError:
            raise asyncio.TimeoutError from None

    def _check(self) -> None:
        left = self._deadline - monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()


class BackgroundTasks:
    """Tasks that run until they return or their owner ends them.

    Args:
        logger: Logs the error of a task that fails.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, Value]) -> asyncio.Task[Value]:
        """Run a coroutine in the running event loop."""
        task = start_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        await asyncio.gather(*map(end_task, list(self._tasks)))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._logger.error("A background task failed", exc_info=task.exception())


def start_generator(generator: AsyncGenerator[None, None]) -> None:
    """Run the generator up to its first `yield`, which takes no turn of the loop."""
    with contextlib.suppress(StopIteration):
        generator.__anext__().send(None)
