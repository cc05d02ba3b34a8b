"""Pass the commands of event loops that do not last to one in the background.

Each `async_to_sync` call outside of a running loop has an event loop, and so has each
`asyncio.run`. A connection in it would be opened for one command. So a process that makes such
calls has a loop in a daemon thread, which keeps the connections.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .brokers import ProcessLocal
from .transport.cluster import Cluster
from .transport.cluster_pipeline import pipeline_to
from .transport.commands import CommandClient, Shards
from .transport.connector import LOOK_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from .ops.statistics import Counters
    from .transport.commands import PendingCommand, Script
    from .transport.connector import Connector
    from .transport.pipeline import AutoPipeline

Value = TypeVar("Value")

# Calls after which a loop is taken for one that lasts, and gets its own connections.
SHORT_LIVED_CALLS = 10


class BackgroundShards(Shards):
    """The command connections of a layer in the background loop; event loops and threads share it.

    Args:
        connectors: One for each host.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
    """

    def __init__(
        self, connectors: Sequence[Connector], scripts: Sequence[Script], counters: Counters
    ) -> None:
        super().__init__([BackgroundClient(one, scripts, counters) for one in connectors])

    def for_running_loop(self) -> Shards | None:
        """Return these connections for a call of the running loop; None if it needs its own."""
        caller = _callers.setdefault(asyncio.get_running_loop(), _Caller())
        # What is under way could be overtaken on another connection.
        if caller.calls >= SHORT_LIVED_CALLS and not caller.under_way:
            return None
        try:
            _loop.get()
        except (RuntimeError, OSError):  # the interpreter ends; or no thread, no descriptor is left
            return None
        caller.calls += 1
        return self


class BackgroundClient(CommandClient):
    """The connections of the background loop to one host, for the commands of other loops.

    They are replaced after a while: a router may have forgotten them, or the server may no longer
    be in charge.

    Args:
        connector: Opens the connections.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
    """

    def __init__(self, connector: Connector, scripts: Sequence[Script], counters: Counters) -> None:
        self._make = partial(pipeline_to, connector, scripts, counters)
        self._cluster = connector if isinstance(connector, Cluster) else None
        # Used in the background loop only.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pipeline: AutoPipeline | None = None

    def call(self, command: PendingCommand) -> asyncio.Future[Any]:
        """Pass a command to the background loop."""
        return _run(self._call(command))

    async def close(self) -> None:
        """Close the connections; those in use, after their calls. A later call opens new ones."""
        if self._pipeline is not None:
            await _run(self._release())

    async def _call(self, command: PendingCommand) -> Any:
        return await self._open().call(command)

    def _open(self) -> AutoPipeline:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the first, or that of a child which uWSGI has forked
            self._loop, self._pipeline = loop, None
        if self._pipeline is None:
            self._pipeline = self._make()
            self._pipeline.max_age = LOOK_INTERVAL
            # A layer may be dropped unclosed.
            release = self._pipeline.release
            self._finalizer = weakref.finalize(self, loop.call_soon_threadsafe, release)
            self._finalizer.atexit = False
        return self._pipeline

    async def _release(self) -> None:
        if self._pipeline is not None:
            self._finalizer.detach()
            self._pipeline.release()
            self._pipeline = None


class _Caller:
    """Counts the calls of an event loop."""

    def __init__(self) -> None:
        self.calls = 0
        self.under_way = 0

    def ended(self, _call: object) -> None:
        self.under_way -= 1


_callers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Caller] = (
    weakref.WeakKeyDictionary()
)


def _run(coroutine: Coroutine[Any, Any, Value]) -> asyncio.Future[Value]:
    """Run a coroutine in the background loop, and return a future of the running loop."""
    result = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, _loop.get()))
    caller = _callers.setdefault(asyncio.get_running_loop(), _Caller())
    caller.under_way += 1
    result.add_done_callback(caller.ended)
    return result


def _start_loop() -> asyncio.AbstractEventLoop:
    started = _unpatched("queue", "SimpleQueue")()
    _unpatched("_thread", "start_new_thread")(_serve, (started.put,))
    loop: asyncio.AbstractEventLoop | OSError = started.get()
    if isinstance(loop, OSError):
        raise loop
    return loop


def _serve(started: Callable[[asyncio.AbstractEventLoop | OSError], object]) -> None:
    # Made in its thread, as a selector of gevent belongs to that.
    try:
        loop = asyncio.new_event_loop()
    except OSError as error:
        started(error)
        return
    started(loop)
    loop.run_forever()


def _unpatched(module: str, name: str) -> Any:
    """Return what a module had before gevent replaced it: a greenlet can't have another loop."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


# Never stopped: the thread ends with the process.
_loop: ProcessLocal[asyncio.AbstractEventLoop] = ProcessLocal(_start_loop)
