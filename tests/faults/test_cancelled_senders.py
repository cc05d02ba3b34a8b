"""Ends: tasks that are cancelled, and commands whose sender was cancelled."""

from __future__ import annotations

import asyncio
import gc
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from channels_redis_shared.concurrency import end_task, start_task
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.connector import Connector
from channels_redis_shared.transport.pipeline import AutoPipeline
from support.waiting import all_closed

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

DEADLINE = 15.0  # seconds


async def test_task_that_swallows_a_cancellation_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """`end_task` cancels again, as a `timeout` of Python 3.10 may have swallowed the first time."""
    monkeypatch.setattr("channels_redis_shared.concurrency.CANCEL_INTERVAL", 0.05)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_task(task), DEADLINE)
    assert task.cancelled()
    assert swallowed == 2


def test_loop_closed_without_cleanup_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A task of the layer's own ends with its loop, whenever the garbage collector finds it."""

    async def begin() -> None:
        start_task(asyncio.sleep(DEADLINE))
        await asyncio.sleep(0)

    gc.collect()  # what other tests have left
    caplog.clear()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    del loop
    gc.collect()
    assert caplog.records == []


def test_loop_closed_amid_an_outage_warns_of_nothing() -> None:
    """Nothing was started that never began, whichever turn of the loop was the last."""

    async def use(turns: int) -> None:
        (host,) = parse_hosts(["redis://127.0.0.1:1/0"])  # where no server is
        AutoPipeline(Connector(host)).execute(("PING",), key="any")
        for _ in range(turns):
            await asyncio.sleep(0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for turns in range(40):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(use(turns))
            loop.close()
            del loop
            gc.collect()
    assert [str(one.message) for one in caught if one.category is RuntimeWarning] == []


async def test_command_that_was_sent_in_part(own_server: EmbeddedServer) -> None:
    """The rest is not sent once its caller has given up, when the server reads again."""
    (host,) = parse_hosts([{"address": own_server.url, "socket_timeout": 1}])
    pipeline = AutoPipeline(Connector(host))
    await pipeline.execute(("PING",), key="any")
    own_server.pause()
    # More than the buffers of the sockets hold.
    command = ("SET", "large", bytes(50_000_000))
    with pytest.raises(RedisTimeoutError):
        await asyncio.wait_for(pipeline.execute(command, key="large"), DEADLINE)
    own_server.resume()
    await all_closed(own_server)
    with own_server.client() as client:
        assert not client.exists("large")
    await pipeline.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_connection_that_was_being_opened_as_its_loop_was_closed(
    own_server: EmbeddedServer,
) -> None:
    """Its socket is closed when the next connection opens: no other object refers to it yet."""
    (host,) = parse_hosts([own_server.url])
    connector = Connector(host)

    async def use() -> None:
        connection = await connector.open()
        connection.close()

    def open_files() -> int:
        gc.collect()
        return len(list(Path("/dev/fd").iterdir()))

    asyncio.run(use())
    before = open_files()
    for _ in range(3):
        own_server.pause()
        loop = asyncio.new_event_loop()
        opening = loop.create_task(connector.open())
        loop.run_until_complete(asyncio.wait([opening], timeout=0.1))
        opening._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        loop.close()
        own_server.resume()
        del opening, loop  # so that they are collected here, where redis-py may complain of it
    asyncio.run(use())
    assert open_files() == before
