"""``manage.py channels_redis_queue work``: a worker that takes as many jobs as it runs."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from support import programs
from support.messages import take, within
from support.processes import ForkedProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from channels_redis_queue import RedisChannelLayer
    from support.queue_layers import Layers

JOBS = 40
DEADLINE = 30  # seconds; generous, since Django has to start


@dataclass
class Worker:
    """A running worker."""

    process: ForkedProcess
    log: IO[bytes]

    async def stop(self, *signals: int) -> tuple[int, str]:
        """Send signals; return the exit status, and what it has written to stderr."""
        for number in signals or (signal.SIGTERM,):
            os.kill(self.process.pid, number)
        status = await within(self.process.wait())
        self.log.seek(0)
        return status, self.log.read().decode()


@dataclass
class Site:
    """A site with workers, and the test's layer on it."""

    layer: RedisChannelLayer
    options: dict[str, Any]

    @asynccontextmanager
    async def working(
        self, *arguments: str, app: str = "channels_redis_queue"
    ) -> AsyncIterator[Worker]:
        """Run a worker until the block ends; it works when this yields."""
        command = ("-m", "django", app, "work", *arguments)
        with tempfile.TemporaryFile() as log:
            process = await ForkedProcess.start(*command, errors=log, **self.options)
            try:
                await within(process.stdout.readline())
                yield Worker(process, log)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
                process.close()

    async def send(self, channel: str, numbers: range, **job: Any) -> None:
        """Send jobs."""
        for number in numbers:
            await self.layer.send(channel, {"type": "job", "number": number, **job})

    async def results(self, event: str, count: int) -> list[dict[str, Any]]:
        """Wait for that many reports of an event; the others in between are left out."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            one = await take(self.layer, "results")
            if one["event"] == event:
                found.append(one)
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """Return the reports that have arrived until now and were not read yet."""
        await self.layer.send("results", {"type": "result", "event": "asked"})
        rest = []
        while (one := await self.layer.receive("results"))["event"] != "asked":
            rest.append(one)
        return rest


@pytest.fixture
def site(layers: Layers, prefix: str) -> Site:
    """Return a site on the server that all tests share."""
    options = {"cwd": Path(__file__).parent, "DJANGO_SETTINGS_MODULE": "jobs_site"}
    environ = {"REDIS_URL": layers.server.url, "PREFIX": prefix}
    return Site(layers(capacity=1000), {**options, **environ})


async def test_jobs_outlive_a_worker_that_is_stopped(site: Site) -> None:
    """The first ends what it runs, the second does the rest: all are done, none twice."""
    await site.send("jobs", range(3), seconds=1)
    await site.send("jobs", range(3, JOBS), seconds=0)
    async with site.working("jobs", "--concurrency", "3", app="channels_redis") as worker:
        await site.results("began", 3)
        assert await worker.stop() == (0, "")
    async with site.working("jobs", "--concurrency", "2") as worker:
        done = await site.results("ended", JOBS)
        assert await worker.stop() == (0, "")
    assert await site.rest() == []
    assert sorted(one["number"] for one in done) == list(range(JOBS))
    assert len({one["worker"] for one in done}) == 2


@pytest.mark.parametrize("channel", ["jobs", "blocking"])
async def test_workers_share(site: Site, channel: str) -> None:
    """Two workers do about as much, with several jobs at a time in each."""
    two = (channel, "--concurrency", "2")
    async with site.working(*two), site.working(*two):
        await site.send(channel, range(JOBS), seconds=0.2)
        done = await site.results("ended", JOBS)
    shares = Counter(one["worker"] for one in done)
    assert len(shares) == 2
    # A busy machine may keep a worker from two of its ten rounds.
    assert max(shares.values()) <= 1.5 * min(shares.values())


@pytest.mark.parametrize("channel", ["jobs", "blocking"])
async def test_interrupted_jobs_go_back(site: Site, channel: str) -> None:
    """Jobs that outlast the grace start again in another worker, as they were sent."""
    await site.send(channel, range(2), seconds=DEADLINE)
    async with site.working(channel, "--concurrency", "2", "--grace", "0.2") as worker:
        await site.results("began", 2)
        status, errors = await worker.stop()
    assert status == 1
    assert errors.count(f"A job in {channel} was interrupted and is back in its queue") == 2
    async with site.working(channel, "--concurrency", "2"):
        assert {one["number"] for one in await site.results("began", 2)} == {0, 1}


async def test_second_signal_ends_the_grace(site: Site) -> None:
    """Ctrl-C twice interrupts at once."""
    await site.send("jobs", range(1), seconds=DEADLINE)
    async with site.working("jobs", "--grace", str(10 * DEADLINE)) as worker:
        await site.results("began", 1)
        status, _ = await worker.stop(signal.SIGINT, signal.SIGTERM)
    assert status == 1


async def test_failing_job(site: Site) -> None:
    """Its error is logged, and the next job is done."""
    await site.send("jobs", range(1), seconds=0, fails=True)
    await site.send("jobs", range(1, 2), seconds=0)
    async with site.working("jobs") as worker:
        assert [one["number"] for one in await site.results("ended", 1)] == [1]
        status, errors = await worker.stop()
    assert status == 0
    assert "A job in jobs failed" in errors
    assert "ArithmeticError: a job that fails" in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["unknown"], "No application configured for channel name 'unknown'"),
        (["jobs", "--concurrency", "0"], "--concurrency must be an integer from 1 to"),
        (["jobs", "--layer", "pubsub"], "is RedisPubSubChannelLayer, and work needs a"),
        (["jobs", "--layer", "other"], "CHANNEL_LAYERS has no 'other'"),
        (["specific.x!y"], "is the channel of a process: a worker reads general ones"),
        (["no way"], "Channel name must be"),
        ([], "the following arguments are required: channels"),
    ],
    ids=str,
)
def test_mistakes(site: Site, arguments: list[str], told: str) -> None:
    """It ends at once, and says what is wrong."""
    done = programs.run("-m", "django", "channels_redis_queue", "work", *arguments, **site.options)
    assert done.status in {1, 2}
    assert told in " ".join(done.err.split())
    assert "Traceback" not in done.err
