"""Consumers of one process: they come, join and leave groups, receive in several ways, and go."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from soak.load import ALL, GROUPS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator

    from soak.journal import Journal
    from soak.load import Load

# What a call may raise while the server is away.
ERRORS = (RedisError, OSError, asyncio.TimeoutError)
RETRY = 0.3  # seconds between two tries of what has failed
SHORTEST_LIFE = 0.2
LEAVES = 0.5  # the share of consumers that leave their groups at the end of life


class Site:
    """The state that the parts of a process share.

    Attributes:
        layer: The channel layer.
        journal: The journal of the process.
        chance: The source of all that is left to chance.
        load: How much there is to do.
        channels: The open channels of the process, which others may send to.
        known: Those of all processes.
        active: Set while there is load; without it, consumers stay as they are.
    """

    def __init__(self, layer: Any, journal: Journal, chance: random.Random, load: Load) -> None:
        self.layer = layer
        self.journal = journal
        self.chance = chance
        self.load = load
        self.channels: set[str] = set()
        self.known: list[str] = []
        self.active = asyncio.Event()

    def about(self, mean: float) -> float:
        """Return seconds by chance, from none to twice the mean."""
        return self.chance.uniform(0, 2 * mean)


@contextlib.contextmanager
def opened(site: Site, channel: str, *, readers: int = 1, general: bool = False) -> Iterator[None]:
    """Note when a channel is received from."""
    site.journal.note("open", channel=channel, readers=readers, general=general)
    try:
        yield
    finally:
        site.journal.note("close", channel=channel)


class Receiver:
    """Receives from a channel, in one of several ways, and notes what comes.

    Args:
        site: The process.
        channel: The name of the channel.
    """

    def __init__(self, site: Site, channel: str) -> None:
        self._site = site
        self._channel = channel
        ways = {self._steadily: 5, self._impatiently: 3, self._slowly: 2}
        self._receive: Callable[[], Coroutine[Any, Any, dict[str, Any] | None]]
        (self._receive,) = site.chance.choices(list(ways), list(ways.values()))

    async def run(self) -> None:
        """Receive until this is cancelled. An error of the layer is noted, and costs a pause."""
        while True:
            await self.next()

    async def next(self) -> None:
        """Receive once, if something is there."""
        try:
            message = await self._receive()
        except Exception as error:  # noqa: BLE001 - none is expected, whatever it is
            self._site.journal.note("error", channel=self._channel, error=repr(error))
            await asyncio.sleep(RETRY)
            return
        if message is None:
            return
        if "id" in message:
            self._site.journal.note("got", channel=self._channel, id=message["id"])
        else:
            self._site.journal.note("notice", channel=self._channel, type=message["type"])

    async def _steadily(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._site.layer.receive(self._channel)
        return message

    async def _impatiently(self) -> dict[str, Any] | None:
        """Begin to receive, and cancel that after a moment."""
        task = asyncio.ensure_future(self._steadily())
        try:
            await asyncio.wait([task], timeout=self._site.chance.choice([0.0, 0.003, 0.05, 0.5]))
        finally:
            task.cancel()
            await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    async def _slowly(self) -> dict[str, Any]:
        """Be busy now and then, while messages come in."""
        chance = self._site.chance
        if self._site.active.is_set() and chance.random() < 0.02:
            seconds = chance.uniform(0.5, 6)
            self._site.journal.note("busy", channel=self._channel, seconds=seconds)
            await asyncio.sleep(seconds)
        return await self._steadily()


async def read_general(site: Site, channel: str, readers: int) -> None:
    """Receive from a general channel, with several calls at once."""
    with opened(site, channel, readers=readers, general=True):
        await asyncio.gather(*(Receiver(site, channel).run() for _ in range(readers)))


class Consumer:
    """A consumer with a channel of its own, for one life."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._groups: set[str] = set()

    async def run(self) -> None:
        """Live: open a channel, join groups, receive, and end in some way."""
        site = self._site
        channel = await self._open()
        try:
            with opened(site, channel):
                site.channels.add(channel)
                receiving = asyncio.create_task(Receiver(site, channel).run())
                try:
                    await self._wander(channel)
                finally:
                    site.channels.discard(channel)
                    receiving.cancel()
                    await asyncio.wait([receiving])
        finally:
            site.channels.discard(channel)

    async def _open(self) -> str:
        while True:
            try:
                channel: str = await self._site.layer.new_channel()
            except ERRORS:
                await asyncio.sleep(RETRY)
            else:
                return channel

    async def _wander(self, channel: str) -> None:
        """Join a group that all are in, change others, and leave some at the end of life."""
        site = self._site
        await self._join(channel, ALL)
        remaining = SHORTEST_LIFE + site.about(site.load.life)
        while remaining > 0:
            await site.active.wait()
            pause = min(site.about(site.load.stay), remaining)
            await asyncio.sleep(pause)
            remaining -= pause
            if site.active.is_set():
                group = site.chance.choice(GROUPS)
                await (self._leave if group in self._groups else self._join)(channel, group)
        if site.chance.random() < LEAVES:
            for group in sorted(self._groups):
                await self._leave(channel, group)

    async def _join(self, channel: str, group: str) -> None:
        site = self._site
        self._groups.add(group)
        site.journal.note("join", group=group, channel=channel)
        with contextlib.suppress(*ERRORS):
            await site.layer.group_add(group, channel)
            site.journal.note("joined", group=group, channel=channel)

    async def _leave(self, channel: str, group: str) -> None:
        site = self._site
        site.journal.note("leave", group=group, channel=channel)
        self._groups.discard(group)
        with contextlib.suppress(*ERRORS):
            await site.layer.group_discard(group, channel)
            site.journal.note("left", group=group, channel=channel)
