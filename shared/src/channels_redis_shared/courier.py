"""Runs calls from short-lived event loops in one background loop, which keeps its connections.

Each `async_to_sync` call outside of a running loop makes a loop of its own. With the connections
in it, each call would pay for opening them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import os
import sys
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")

# How many calls a loop makes before it counts as one that lasts, and gets connections of its own.
SHORT_LIVED_CALLS = 10
# Seconds that the interpreter waits at its exit for the connections to be closed.
CLOSING = 3


class Courier:
    """A background event loop in a daemon thread, started when first needed."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: threading.Event | None = None

    @property
    def is_running(self) -> bool:
        """Tell whether the thread was started."""
        return self._loop is not None

    async def run(self, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run the coroutine that `make` returns in the background loop; return its result.

        When no thread can be started, as at the interpreter's exit, it runs in the caller's loop.
        """
        background = self._started()
        if background is None:
            return await make()
        errand = _Errand(make, asyncio.get_running_loop())
        # In the caller's context, as call_soon_threadsafe copies it.
        background.call_soon_threadsafe(errand.start)
        try:
            result: Result = await errand.result
        except asyncio.CancelledError:
            background.call_soon_threadsafe(errand.cancel)
            raise
        return result

    def _started(self) -> asyncio.AbstractEventLoop | None:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    def _start(self) -> asyncio.AbstractEventLoop | None:
        loop = asyncio.new_event_loop()
        stopped = threading.Event()
        try:
            _start_thread(lambda: _serve(loop, stopped))
        except RuntimeError:  # the interpreter is at its exit
            loop.close()
            return None
        self._stopped = stopped
        atexit.register(self.stop)
        return loop

    def stop(self) -> None:
        """Close the loop and all that it keeps."""
        loop, self._loop = self._loop, None
        # In a fork's child the thread is not there, and the loop is the parent's.
        if loop is not None and self._stopped is not None and self._pid == os.getpid():
            atexit.unregister(self.stop)
            with contextlib.suppress(RuntimeError):  # closed already
                loop.call_soon_threadsafe(loop.stop)
                self._stopped.wait(CLOSING)


class _Errand:
    """One call on its way to the background loop and back."""

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, Any]], home: asyncio.AbstractEventLoop
    ) -> None:
        self._make = make
        self._home = home
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self.result: asyncio.Future[Any] = home.create_future()

    def start(self) -> None:
        if not self._cancelled:
            self._task = asyncio.get_running_loop().create_task(self._make())
            self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
            self._home.call_soon_threadsafe(self._deliver, task, error)

    def _deliver(self, task: asyncio.Task[Any], error: BaseException | None) -> None:
        if self.result.done():
            return
        if task.cancelled():
            self.result.cancel()
        elif error is not None:
            self.result.set_exception(error)
        else:
            self.result.set_result(task.result())


@dataclass
class _Caller:
    """What is known of an event loop that has called."""

    calls: int = 0
    under_way: int = 0
    lasts: bool = False


class Callers:
    """Decides for each event loop whether its calls run in it, or go to the courier.

    Args:
        lives_here: Tells whether the running loop has connections of its own already.
    """

    def __init__(self, lives_here: Callable[[], bool]) -> None:
        self._lives_here = lives_here
        self._callers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Caller] = (
            weakref.WeakKeyDictionary()
        )

    async def run(self, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run the coroutine that `make` returns where the running loop's calls belong."""
        loop = asyncio.get_running_loop()
        caller = self._callers.get(loop)
        if caller is None:
            caller = self._callers[loop] = _Caller()
        if caller.lasts or self._lasts(caller):
            return await make()
        caller.calls += 1
        caller.under_way += 1
        try:
            return await _courier.get().run(make)
        finally:
            caller.under_way -= 1

    async def close(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `close` in the running loop, and in the courier's if there is one."""
        await close()
        courier = _courier.get()
        if courier.is_running:
            await courier.run(close)

    def _lasts(self, caller: _Caller) -> bool:
        # Not while calls are under way on the courier's connection: a later one on another
        # connection might overtake them.
        if not caller.under_way:
            caller.lasts = caller.calls >= SHORT_LIVED_CALLS or self._lives_here()
        return caller.lasts


def _serve(loop: asyncio.AbstractEventLoop, stopped: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
        stopped.set()


def _start_thread(target: Callable[[], None]) -> None:
    if "gevent.monkey" in sys.modules:
        monkey = importlib.import_module("gevent.monkey")
        if monkey.is_module_patched("threading"):
            # A patched thread is a greenlet of this one, which the caller keeps busy.
            monkey.get_original("_thread", "start_new_thread")(target, ())
            return
    threading.Thread(target=target, name="channels-redis courier", daemon=True).start()


# All layers of a process share it.
_courier = PerProcess(Courier)
