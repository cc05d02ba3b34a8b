"""Keep a broker for each event loop of a process; one whose loop has ended continues in another.

Each `asyncio.run` has its own event loop, and so has each `async_to_sync` call outside of a
running loop. What a broker has of no loop, such as its channels, outlives them: to a broker, a
change of loops is an outage of its connections like any other. One that has nothing left is
forgotten with its loop.

A loop without a broker takes over a free one. If another thread used that last, it may be about to
receive on a channel of it: `async_to_sync` makes a thread and a loop for each call. So it stays
free for that thread, unless it has been free for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .clock import monotonic
from .concurrency import running_loop, start_generator, start_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


# Seconds after which a broker that waits for its thread continues in any.
RESERVED = 60.0


class Broker(Protocol):
    """The part of a layer that an event loop has to itself."""

    # That to which it is attached, or None. `Brokers` sets it.
    loop: asyncio.AbstractEventLoop | None

    @property
    def is_unused(self) -> bool:
        """True if nothing would be lost without it, such as a message or a membership."""

    def attach(self) -> None:
        """Make what belongs to the running event loop, such as connections. Without I/O."""

    async def detach(self) -> None:
        """Close what belongs to the running event loop. Called again if it was cancelled."""

    def abandon(self) -> None:
        """Abandon what belongs to an event loop that is closed already."""


B = TypeVar("B", bound=Broker)
Value = TypeVar("Value")


class Brokers(Generic[B]):
    """The brokers that a layer has in a process, one for each event loop that uses it.

    A loop that ends as `asyncio.run` ends it detaches its brokers. If a loop was closed without
    that, they are abandoned when another loop needs a broker. A loop that merely does not run at
    the moment keeps them.

    Args:
        make: Makes a broker that is not attached.
    """

    def __init__(self, make: Callable[[], B]) -> None:
        self._make = make
        # Held while a broker gets an event loop. Nothing that the garbage collector may run takes
        # it; what `call` calls may take it again.
        self._lock = threading.RLock()
        # Each with the thread that used it last, and when that began or ended.
        self._brokers: dict[B, tuple[weakref.ref[threading.Thread], float]] = {}
        # The one that a loop uses for what belongs to none of its brokers yet. It may have more,
        # whose own loops have ended. Read without a call for each message.
        self.by_loop: dict[asyncio.AbstractEventLoop, B] = {}
        self._closers: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
        self._detaching: dict[B, asyncio.Task[None]] = {}

    def get(self) -> B:
        """Return the running loop's own broker; else take over a free one, or make one."""
        loop = asyncio.get_running_loop()
        broker = self.by_loop.get(loop)
        if broker is None:
            with self._lock:
                broker = next((one for one in self._brokers if self._is_free_here(one)), None)
                if broker is None:
                    broker = self._make()
                self._attach(broker, loop)
        return broker

    async def adopt(self, broker: B, channel: str) -> None:
        """Attach a broker to the running event loop, unless it is already.

        One that is being detached here is attached again as soon as that is done.

        Args:
            broker: The broker.
            channel: The channel that it is needed for.

        Raises:
            RuntimeError: Its own loop still runs.
        """
        loop = asyncio.get_running_loop()
        while broker.loop is loop and broker in self._detaching:
            await asyncio.wait([self._detaching[broker]])
        if broker.loop is loop:
            return
        with self._lock:
            if not _is_free(broker):
                raise RuntimeError(
                    f"{channel!r} belongs to another event loop, which is not closed: call receive "
                    "and group_add in that loop, or make a channel in this one. From another "
                    "thread, asyncio.run_coroutine_threadsafe(layer.receive(channel), loop) does it"
                )
            self._attach(broker, loop)

    def call(self, broker: B, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in a broker's event loop: now if it is this one, or none, else soon."""
        if broker.loop is not None and broker.loop is running_loop():
            function(*arguments)
            return
        with self._lock:
            self._forget_ended()
            if broker.loop is None:
                # With the lock, so that no loop begins to use it meanwhile.
                function(*arguments)
            else:
                with contextlib.suppress(RuntimeError):  # it was closed just now
                    broker.loop.call_soon_threadsafe(function, *arguments)

    def values(self) -> list[B]:
        """Return the brokers of this process that are attached, or have something to lose."""
        return list(self._brokers)

    async def close(self, keep: Callable[[B], bool] = lambda _: False) -> None:
        """Detach the running loop's brokers, and wait for that also if this is cancelled.

        Args:
            keep: Returns True for a broker that stays attached.
        """
        loop = asyncio.get_running_loop()
        tasks = [
            self._detach_soon(broker)
            for broker in self.values()
            if broker.loop is loop and not keep(broker)
        ]
        if not tasks:
            return
        try:
            # Unlike a gather, it leaves no error behind if this and the tasks are cancelled.
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await asyncio.wait(tasks)
            raise
        for task in tasks:
            task.result()

    def _attach(self, broker: B, loop: asyncio.AbstractEventLoop) -> None:
        """Attach a free broker to the running loop; hold the lock."""
        self._forget_ended()
        for kept in (self.by_loop, self._closers):
            for ended in [one for one in list(kept) if one.is_closed()]:
                kept.pop(ended, None)
        broker.loop = loop
        self._note_use(broker)
        broker.attach()
        self.by_loop.setdefault(loop, broker)
        if loop not in self._closers:
            self._closers[loop] = closer = self._closer(loop)
            start_generator(closer)

    def _forget_ended(self) -> None:
        """Abandon what belongs to closed loops, and forget unused brokers; hold the lock."""
        for broker in self.values():
            if broker.loop is not None and broker.loop.is_closed():
                broker.abandon()
                broker.loop = None
                self._detaching.pop(broker, None)
            if broker.loop is None and broker.is_unused:
                del self._brokers[broker]

    def _detach_soon(self, broker: B) -> asyncio.Task[None]:
        task = self._detaching.get(broker)
        if task is None:
            loop = asyncio.get_running_loop()
            if self.by_loop.get(loop) is broker:
                del self.by_loop[loop]
            task = self._detaching[broker] = start_task(self._detach(broker))
            task.add_done_callback(lambda _: self._detaching.pop(broker, None))
        return task

    async def _detach(self, broker: B) -> None:
        await broker.detach()
        with self._lock:
            self._note_use(broker)
            # From now on another thread may attach it.
            broker.loop = None
            self._forget_ended()

    def _note_use(self, broker: B) -> None:
        self._brokers[broker] = weakref.ref(threading.current_thread()), monotonic()

    def _is_free_here(self, broker: B) -> bool:
        """Return whether this thread may have a broker without asking for one of its channels."""
        thread, used_at = self._brokers[broker]
        return _is_free(broker) and (
            thread() is threading.current_thread() or monotonic() - used_at > RESERVED
        )

    async def _closer(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        # The end of a loop can only be noticed by an asynchronous generator, which it finalises.
        try:
            yield
        finally:
            self._closers.pop(loop, None)
            # Before that it has cancelled all tasks once, so perhaps one that detached a broker.
            await self.close()


def _is_free(broker: Broker) -> bool:
    return broker.loop is None or broker.loop.is_closed()


class ProcessLocal(Generic[Value]):
    """One value for each process, made at the first use."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._begin()
        _process_locals.add(self)

    def _begin(self) -> None:
        # The lock as well: the fork may have happened while another thread held it.
        self._lock = threading.Lock()
        self._pid = os.getpid()
        # None before the first use. Read without a call for each message.
        self.value: Value | None = None

    def get(self) -> Value:
        """Return this process's value."""
        if self._pid != os.getpid():
            with self._lock:
                # uWSGI forks in C, and Python learns nothing of it.
                if self._pid != os.getpid():
                    self.leave_behind()
        if self.value is None:
            with self._lock:
                if self.value is None:
                    self.value = self._make()
        return self.value

    def leave_behind(self) -> None:
        """Begin without a value in a forked child."""
        # Kept alive, and not closed: parent and child share the sockets and the selector, so
        # closing here would stop the parent's events.
        self._inherited = self.value
        self._begin()


_process_locals: weakref.WeakSet[ProcessLocal[Any]] = weakref.WeakSet()


def _leave_values_behind() -> None:
    for local in list(_process_locals):
        local.leave_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_values_behind)
