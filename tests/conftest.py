"""Servers, proxies and worker processes for all tests.

Tests import what the fixtures return from ``embedded_server`` and ``support`` for their type hints.
"""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import os
import secrets
import signal
from contextlib import AsyncExitStack, ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import pytest_asyncio

from embedded_server import EmbeddedServer
from support.cluster import EmbeddedCluster
from support.processes import WorkerProcess
from support.proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
    from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell does this to commands in the background, and every program that a test starts and
    # interrupts would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# redis-py reads its own version from its package's files for each connection that it makes, which
# takes longer than all the rest of making it: a sixth of the work of the conformance tests.
importlib.metadata.version = functools.cache(importlib.metadata.version)


class RunProcess(Protocol):
    """Starts a worker script; see `support.processes`."""

    def __call__(self, script: str | Path, **options: Any) -> Awaitable[WorkerProcess]:
        """Start ``script`` with the arguments of `WorkerProcess.fork`."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collected tests out of the garbage collector's way: thousands, in each worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker of xdist begin with its share of the slow tests.

    With ``--dist worksteal`` the workers get equal parts of the list. The slow tests at the end of
    one would run while the other workers have nothing left to do.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = iter([item for item in items if item not in slow])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        share = slow[worker::workers]
        size = (len(items) - len(ordered)) // (workers - worker)
        ordered += [*share, *islice(others, max(size - len(share), 0))]
    if workers:
        assert set(ordered) == set(items), "the order has lost tests"
        items[:] = ordered


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """Yield the server that all tests share. Use it with ``prefix``, and leave it running."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_shards() -> Iterator[tuple[EmbeddedServer, ...]]:
    """Yield three servers that all tests share, for layers with several hosts."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(EmbeddedServer()) for _ in range(3))


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[EmbeddedCluster]:
    """Yield the Redis Cluster that all tests share. Use it with ``prefix``; leave it running."""
    with EmbeddedCluster() as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    """Return a key prefix that no other test uses. It is valid in a channel's name, too."""
    return f"test-{secrets.token_hex(6)}-"


@pytest.fixture
def start_server() -> Iterator[Callable[..., EmbeddedServer]]:
    """Yield a function that starts servers of the test's own; arguments as `EmbeddedServer`'s."""
    with ExitStack() as stack:
        yield lambda *config, **options: stack.enter_context(EmbeddedServer(*config, **options))


@pytest.fixture
def own_server(start_server: Callable[..., EmbeddedServer]) -> EmbeddedServer:
    """Return a server of the test's own, to kill, restart, pause, or count commands on."""
    return start_server()


@pytest_asyncio.fixture
async def proxy(own_server: EmbeddedServer) -> AsyncIterator[TcpProxy]:
    """Yield a proxy in front of the test's own server."""
    async with TcpProxy(own_server.port) as proxy:
        yield proxy


@pytest.fixture
def servers_first(request: pytest.FixtureRequest) -> None:
    """Start the servers that the test names, to close its layers before they stop."""
    for name in ("own_server", "proxy"):
        if name in request.fixturenames:
            request.getfixturevalue(name)


@pytest_asyncio.fixture
async def run_process() -> AsyncIterator[RunProcess]:
    """Yield a coroutine function that starts a worker script; see `support.processes`."""
    async with AsyncExitStack() as stack:

        async def start(script: str | Path, **options: Any) -> WorkerProcess:
            worker = await WorkerProcess.fork(script, **options)
            stack.push_async_callback(worker.close)
            return worker

        yield start
