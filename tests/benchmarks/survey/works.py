"""The work that is measured, for any channel layer; the larger works have separate modules."""

from __future__ import annotations

import asyncio
import collections
import gc
import os
import secrets
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from benchmarks.survey.consumers import GROUP, JOBS, SETTLE_SECONDS, Members, join, listening
from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.crew import crew

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

# A function for each, found when it is needed: not every contender's environment has redis-py.
WORKS = {
    "one-in-flight": "works.one_in_flight",
    "send-receive": "works.send_then_receive",
    "many-channels": "works.many_channels",
    "drain": "works.drain",
    "fan-out": "works.fan_out",
    "group": "works.group",
    "broadcasts": "works.broadcasts",
    "other-processes": "works.other_processes",
    "sockets": "sockets.sockets",
    "churn": "works.churn",
    "workers": "works.workers",
    "synchronous": "works.synchronous",
    "sync-run": "works.loop_for_each_call",
    "sync-cost": "works.beside_doing_nothing",
    "idle": "works.idle",
}
SENDERS = 50
AT_A_TIME = 50  # group messages
MEMBERS = 20  # of the group that these go to
VISITORS = 20
MESSAGES_A_SECOND = 6_000  # that workers get for each second to be measured
CONSUMERS = 2_000
PER = 1_000  # consumers that a figure is for


async def one_in_flight(trial: Trial) -> None:
    """Send a message to a waiting consumer, and the next one when that one has arrived."""
    layer, message = trial.job.layer(), trial.job.message()
    channel = await layer.new_channel()
    async with listening(layer, [channel]) as arrivals:

        async def one(_: int) -> None:
            arrivals.expect(1)
            await layer.send(channel, message)
            await arrivals.all_in()

        samples = await trial.repeat(one, warm_up=50)
    trial.percentiles(samples.seconds)
    await layer.flush()


async def send_then_receive(trial: Trial) -> None:
    """Send a message, and only then receive it, in one task."""
    layer, message = trial.job.layer(), trial.job.message()
    channel = await layer.new_channel()

    async def one(_: int) -> None:
        await layer.send(channel, message)
        await layer.receive(channel)

    trial.percentiles((await trial.repeat(one, warm_up=50)).seconds)
    await layer.flush()


async def many_channels(trial: Trial) -> None:
    """50 senders, each to its own channel, until all messages have arrived."""
    layer, message = trial.job.layer(), trial.job.message()
    channels = [await layer.new_channel() for _ in range(SENDERS)]
    # A large message takes long: fewer of them in a burst.
    each = 40 if len(message["text"]) < 1_000 else 10
    async with listening(layer, channels) as arrivals:

        async def sender(channel: str) -> None:
            for _ in range(each):
                await layer.send(channel, message)

        async def burst(_: int) -> None:
            arrivals.expect(each * SENDERS)
            await asyncio.gather(*map(sender, channels))
            await arrivals.all_in()

        samples = await trial.repeat(burst, warm_up=1, operations=each * SENDERS)
    trial.figures["rate"] = samples.rate()
    await layer.flush()


async def drain(trial: Trial) -> None:
    """One receiver reads 500 messages that wait in a general channel."""
    layer, message = trial.job.layer(), trial.job.message()

    async def fill() -> None:
        for _ in range(10):
            await asyncio.gather(*(layer.send(JOBS, message) for _ in range(50)))

    async def read(_: int) -> None:
        for _ in range(500):
            await layer.receive(JOBS)

    samples = await trial.repeat(read, warm_up=1, operations=500, before=fill)
    trial.figures["rate"] = 500 / statistics.median(samples.seconds)
    await layer.flush()


async def fan_out(trial: Trial) -> None:
    """Send to the group, and again when all have it; the sender's process has a share of them.

    The clock of `time.monotonic` is the same in all processes of a machine.
    """
    job = trial.job
    share, rest = divmod(job.parameters["members"], job.parameters["processes"])
    others_count = job.parameters["processes"] - 1
    async with (
        crew("consumers.Members", job, others_count, share) as others,
        Members(job, share + rest) as here,
    ):

        async def one(number: int) -> float:
            # Before the clock starts: a call takes as long as some members do.
            await others.call("announce", number)
            arrived = here.expect(number)
            began = time.monotonic()
            await here.layer.group_send(GROUP, job.message(number=number))
            times: list[float] = [await arrived, *await others.replies()]
            return max(times) - began

        samples = await trial.repeat(one, at_least=10)
        trial.figures["deliveries"] = job.parameters["members"] / statistics.mean(samples.seconds)
        trial.percentiles(samples.seconds, "all_")
    await here.layer.flush()


async def group(trial: Trial) -> None:
    """Send to a group of this process, again and again when all have it, and do nothing else."""
    layer, message, members = (
        trial.job.layer(),
        trial.job.message(),
        trial.job.parameters["members"],
    )
    async with listening(layer, await join(layer, members)) as arrivals:

        async def one(_: int) -> None:
            arrivals.expect(members)
            await layer.group_send(GROUP, message)
            await arrivals.all_in()

        samples = await trial.repeat(one, at_least=10)
    trial.percentiles(samples.seconds, "all_")
    await layer.flush()


async def broadcasts(trial: Trial) -> None:
    """50 messages at once to the group, until all members have all of them."""
    layer, message = trial.job.layer(), trial.job.message()
    async with listening(layer, await join(layer, MEMBERS)) as arrivals:

        async def volley(_: int) -> None:
            arrivals.expect(AT_A_TIME * MEMBERS)
            await asyncio.gather(*(layer.group_send(GROUP, message) for _ in range(AT_A_TIME)))
            await arrivals.all_in()

        samples = await trial.repeat(volley, operations=AT_A_TIME)
    trial.figures["deliveries"] = samples.rate() * MEMBERS
    trial.percentiles(samples.seconds, "all_")
    await layer.flush()


async def other_processes(trial: Trial) -> None:
    """Send to a group with 10 members in each of 100 processes, whose inboxes are unread.

    They run the same layer; with the parameter `mixed`, channels_redis. The inboxes are emptied
    between the passes.
    """
    layer, message = trial.job.layer(), trial.job.message()

    async def one(_: int) -> None:
        for _ in range(20):
            await layer.group_send(GROUP, message)

    async def empty() -> None:
        simulate_members(trial, processes=100, members=10)

    samples = await trial.repeat(one, warm_up=1, operations=20, before=empty)
    trial.figures["p50"] = statistics.median(samples.seconds) / 20
    await layer.flush()


def simulate_members(trial: Trial, *, processes: int, members: int) -> None:
    """Write the group as other processes of the contender do for channels that join.

    One of our queue layer writes one name for all its members. One of channels_redis, which all
    are with the parameter `mixed`, writes each member's, and its id is a uuid4.
    """
    from redis import Redis  # noqa: PLC0415 - not every environment has it

    if trial.job.contender == "queue" and not trial.job.parameters.get("mixed"):
        ids = [f"{secrets.token_hex(6)}c{secrets.token_hex(2)[1:]}" for _ in range(processes)]
        names = [f"specific.{one}!:g:{GROUP}" for one in ids]
    else:
        ids = [uuid.uuid4().hex for _ in range(processes)]
        names = [f"specific.{one}!{uuid.uuid4().hex}" for one in ids for _ in range(members)]
    with Redis.from_url(trial.job.hosts[0]) as server:
        server.flushdb()
        server.zadd(f"asgi:group:{GROUP}", dict.fromkeys(names, time.time()))


async def churn(trial: Trial) -> None:
    """Consumers take a channel, join the group and leave it, 20 at a time."""
    layer = trial.job.layer()

    async def visitor() -> None:
        for _ in range(5):
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
            await layer.group_discard(GROUP, channel)

    async def come_and_go(_: int) -> None:
        await asyncio.gather(*(visitor() for _ in range(VISITORS)))

    samples = await trial.repeat(come_and_go, warm_up=1, operations=5 * VISITORS)
    trial.figures["rate"] = samples.rate()
    await layer.flush()


async def workers(trial: Trial) -> None:
    """Send numbered messages from this process until worker processes have handled as many."""
    layer = trial.job.layer()
    messages, warm_up = int(trial.job.seconds * MESSAGES_A_SECOND), 200
    async with crew("consumers.Worker", trial.job, trial.job.parameters["workers"]) as them:
        handled = collections.Counter[int]()

        async def ask() -> None:
            for numbers in await them.call("handled"):
                handled.update(numbers)

        async def handle(numbers: range) -> None:
            waiting = iter(numbers)

            async def sender() -> None:
                for number in waiting:
                    await layer.send(JOBS, trial.job.message(number=number))

            await asyncio.gather(*(sender() for _ in range(SENDERS)))
            while sum(handled.values()) < numbers.stop:
                await ask()
                await asyncio.sleep(0.002)

        await handle(range(warm_up))
        trial.begin()
        began = time.perf_counter()
        await handle(range(warm_up, warm_up + messages))
        trial.figures["rate"] = messages / (time.perf_counter() - began)
        trial.end(messages)
        # What is handled late was sent once and is on its way, or comes for the second time.
        await asyncio.sleep(0.3)
        await ask()
        trial.figures["twice"] = sum(times - 1 for times in handled.values())
        trial.figures["lost"] = warm_up + messages - len(handled)
    await layer.flush()


def synchronous(trial: Trial) -> None:
    """Call `group_send`, for a group with one member, from threads without an event loop."""
    layer, message = trial.job.layer(), trial.job.message()
    if CONTENDERS[trial.job.contender].work_queue:
        # Without a member there would be nothing to write.
        async_to_sync(layer.group_add)(GROUP, "unread")
    call = async_to_sync(layer.group_send)
    samples: list[float] = []
    with ThreadPoolExecutor(trial.job.parameters["threads"]) as threads:

        def one() -> None:
            began = time.perf_counter()
            call(GROUP, message)
            samples.append(time.perf_counter() - began)

        def some(times: int) -> None:
            for done in [threads.submit(one) for _ in range(times)]:
                done.result()

        trial.figures["rate"] = trial.repeat_blocking(some, each=50)
    trial.percentiles(samples[20:])


def loop_for_each_call(trial: Trial) -> None:
    """Call `group_send` in an event loop that ends with the call."""
    layer, message = trial.job.layer(), trial.job.message()
    simulate_members(trial, processes=1, members=1)

    def some(times: int) -> None:
        for _ in range(times):
            asyncio.run(layer.group_send(GROUP, message))

    trial.figures["rate"] = trial.repeat_blocking(some, each=50)


def beside_doing_nothing(trial: Trial) -> None:
    """Compare `async_to_sync` of `group_send` with that of a coroutine that does nothing."""
    layer, message = trial.job.layer(), trial.job.message()
    simulate_members(trial, processes=1, members=1)

    async def nothing(_group: str, _message: object) -> None:
        pass

    def seconds(call: Any) -> float:
        began = time.perf_counter()
        for _ in range(100):
            call(GROUP, message)
        return time.perf_counter() - began

    def pair(_: int) -> None:
        ratios.append(seconds(async_to_sync(layer.group_send)) / seconds(async_to_sync(nothing)))

    ratios: list[float] = []
    trial.repeat_blocking(pair, each=1)
    # The first pair opened connections.
    trial.figures["times"] = statistics.median(ratios[1:])


async def idle(trial: Trial) -> None:
    """Let consumers join the group and wait, each in its own task."""
    layer = trial.job.layer()

    async def start(count: int) -> list[asyncio.Task[object]]:
        waiting = [asyncio.ensure_future(layer.receive(one)) for one in await join(layer, count)]
        await asyncio.sleep(SETTLE_SECONDS)
        return waiting

    consumers = await start(10)
    before = _resident()
    trial.begin()
    consumers += await start(CONSUMERS)
    trial.end(CONSUMERS // PER)
    trial.figures["client_memory"] = (_resident() - before) / CONSUMERS * PER
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    await layer.flush()


def _resident() -> int:
    """Return how many bytes of memory this process occupies."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
