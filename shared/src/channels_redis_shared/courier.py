"""Runs calls from short-lived event loops in one background loop, which keeps its connections.

Each `async_to_sync` call outside of a running loop makes a loop of its own. With the connections
in it, each call would pay for opening them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from . import native
from .forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")

# Seconds that the interpreter waits at its exit for the connections to be closed.
CLOSING = 3


class Courier:
    """A background event loop in a daemon thread, started when first needed."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = native.new_lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Held while the thread runs.
        self._running = native.new_lock()
        self._errands: set[_Errand[Any]] = set()

    @property
    def is_running(self) -> bool:
        """Tell whether the thread was started."""
        return self._loop is not None

    @property
    def is_busy(self) -> bool:
        """Tell whether calls are under way here."""
        return bool(self._errands)

    async def run(self, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run the coroutine that `make` returns in the background loop; return its result.

        When no thread can be started, as at the interpreter's exit, it runs in the caller's loop.
        """
        background = self._started()
        if background is None:
            return await make()
        errand: _Errand[Result] = _Errand(make, asyncio.get_running_loop(), self._errands.discard)
        self._errands.add(errand)
        try:
            # In the caller's context, as call_soon_threadsafe copies it.
            background.call_soon_threadsafe(errand.start)
            if native.patched_by_gevent():
                # If the caller's loop gave way to another greenlet, that one could not run its own.
                return errand.block()
            await errand.arrival
        except asyncio.CancelledError:
            background.call_soon_threadsafe(errand.cancel)
            raise
        finally:
            self._errands.discard(errand)
        return errand.result()

    def stop(self) -> None:
        """Close the loop and all that it keeps."""
        loop, self._loop = self._loop, None
        # In a fork's child the thread is not there, and the loop is the parent's.
        if loop is not None and self._pid == os.getpid():
            atexit.unregister(self.stop)
            with contextlib.suppress(RuntimeError):  # closed already
                loop.call_soon_threadsafe(loop.stop)
                self._running.acquire(timeout=CLOSING)

    def _started(self) -> asyncio.AbstractEventLoop | None:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._start()
        return self._loop

    def _start(self) -> None:
        ready = native.new_lock()
        ready.acquire()
        try:
            native.start_thread(lambda: self._serve(ready), "channels-redis courier")
        except RuntimeError:  # the interpreter is at its exit
            return
        ready.acquire()
        atexit.register(self.stop)

    def _serve(self, ready: Any) -> None:
        # Made in its own thread: a selector of gevent belongs to the thread that made it.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._running.acquire()
        self._loop = loop
        loop.call_soon(ready.release)
        try:
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
            self._running.release()


# All layers of a process share it.
courier = PerProcess(Courier)


class _Errand(Generic[Result]):
    """One call on its way to the background loop and back."""

    def __init__(
        self,
        make: Callable[[], Coroutine[Any, Any, Result]],
        home: asyncio.AbstractEventLoop,
        done: Callable[[_Errand[Any]], object],
    ) -> None:
        self._make = make
        self._home = home
        # Told in the background loop: the caller's may be closed, and tell nobody any more.
        self._done = done
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._value: Result | None = None
        # Until it has been carried out, this is what came of it.
        self._error: BaseException | None = asyncio.CancelledError()
        self._back = False
        self._under_way = native.new_lock()
        self._under_way.acquire()
        # Done, in the caller's loop, when the call is.
        self.arrival: asyncio.Future[None] = home.create_future()

    def start(self) -> None:
        """Begin, in the background loop."""
        if not self._cancelled:
            self._task = asyncio.get_running_loop().create_task(self._carry_out())
            # One that is cancelled before its first turn gets nowhere by itself.
            self._task.add_done_callback(self._return)

    def cancel(self) -> None:
        """Give up, in the background loop."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def block(self) -> Result:
        """Return the result; until then this thread does nothing else."""
        self._under_way.acquire()
        return self.result()

    def result(self) -> Result:
        """Return the result, or raise the error, of what is done."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame
        return cast("Result", self._value)

    async def _carry_out(self) -> None:
        try:
            self._value = await self._make()
            self._error = None
        except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
            self._error = error
        # Now, not when the task has ended: the caller wakes while this loop tidies up.
        self._return()

    def _return(self, _task: object = None) -> None:
        if self._back:
            return
        self._back = True
        self._under_way.release()
        self._done(self)
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
            self._home.call_soon_threadsafe(self._arrive)

    def _arrive(self) -> None:
        if not self.arrival.done():
            self.arrival.set_result(None)
