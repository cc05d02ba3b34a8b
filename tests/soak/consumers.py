"""Consumers of one process: they come, join and leave groups, receive in several ways, and go."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from soak.load import ALL, GROUPS, LIFE, PEOPLE, STAY
from support.messages import cancel

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator

    from soak.journal import Journal

# What a call may raise while the server is away.
ERRORS = (RedisError, OSError, asyncio.TimeoutError)
RETRY = 0.3  # seconds between two tries of what has failed
SHORTEST_LIFE = 0.2
LEAVES = 0.5  # the share of consumers that leave their groups at the end of life
FAILS = 0.2  # the share of those that end between two receives, as a handler that raises does
HASTY = 0.05  # the share of joins that are cancelled under way
PATIENCE = 5.0  # seconds that a consumer waits for its own message


@dataclass
class Site:
    """The state that the parts of a process share.

    Attributes:
        layer: The channel layer.
        journal: The journal of the process.
        chance: The source of all that is left to chance.
        channels: The open channels of the process, which others may send to. Presence tracks the
            consumers of all but the general one.
        known: Those of all processes.
        recovery: Whether there are groups with a history.
        presence: The layer's presence, if it has one.
        active: Set while there is load; without it, consumers stay as they are.
    """

    layer: Any
    journal: Journal
    chance: random.Random
    recovery: bool = False
    presence: Any = None
    channels: set[str] = field(default_factory=set)
    known: list[str] = field(default_factory=list)
    active: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.contextmanager
    def expecting_errors(self, call: str, channel: str) -> Iterator[None]:
        """Ignore errors of an absent server, and note all others."""
        try:
            yield
        except ERRORS:
            pass
        except Exception as error:  # noqa: BLE001 - none is expected, whatever it is
            self.note_error(call, channel, error)

    async def track(self, channel: str) -> None:
        """Let presence know of a consumer; what a call could not write is written later."""
        if self.presence is not None:
            with self.expecting_errors("track", channel):
                await self.presence.track(PEOPLE, channel, channel)

    def note_error(self, call: str, channel: str, error: Exception) -> None:
        """Note an error that should not have come."""
        self.journal.note("failures", call=call, channel=channel, error=repr(error)[:200])

    def about(self, mean: float) -> float:
        """Return seconds by chance, from none to twice the mean."""
        return self.chance.uniform(0, 2 * mean)


@contextlib.contextmanager
def opened(site: Site, channel: str, *, readers: int = 1, general: bool = False) -> Iterator[None]:
    """Note when a channel is received from."""
    note = site.journal.note("channels", "opened", name=channel, readers=readers, general=general)
    try:
        yield
    finally:
        note("closed")


class Receiver:
    """Receives from a channel, in one of several ways, and notes what comes.

    Attributes:
        fails: Lets `run` end with the next message, between two receives.

    Args:
        site: The process.
        channel: The name of the channel.
    """

    def __init__(self, site: Site, channel: str) -> None:
        self._site = site
        self._channel = channel
        self.fails = False
        self._latest: int | None = None
        self._has_received = False
        ways = {self._steadily: 5, self._impatiently: 3, self._slowly: 2}
        self._receive: Callable[[], Coroutine[Any, Any, dict[str, Any] | None]]
        (self._receive,) = site.chance.choices(list(ways), list(ways.values()))

    async def run(self) -> None:
        """Receive until this is cancelled. An error of the layer is noted, and costs a pause."""
        while not self.fails:
            await self._next()

    async def receive_until(self, number: int) -> None:
        """Receive until a message has come."""
        while self._latest != number:
            await self._next()

    async def _next(self) -> None:
        """Receive once, if something is there."""
        try:
            message = await self._receive()
        except Exception as error:  # noqa: BLE001 - none is expected, whatever it is
            self._site.note_error("receive", self._channel, error)
            await asyncio.sleep(RETRY)
            return
        self._has_received = True
        if message is None:
            return
        if "id" in message:
            self._latest = message["id"]
            self._site.journal.note("receipts", channel=self._channel, id=message["id"])
        else:
            self._site.journal.note("notices", channel=self._channel, type=message["type"])

    async def _steadily(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._site.layer.receive(self._channel)
        return message

    async def _impatiently(self) -> dict[str, Any] | None:
        """Begin to receive, and cancel that after a moment."""
        task = asyncio.ensure_future(self._steadily())
        try:
            await asyncio.wait([task], timeout=self._site.chance.choice([0.0, 0.003, 0.05, 0.5]))
        finally:
            await cancel(task)
        return None if task.cancelled() else task.result()

    async def _slowly(self) -> dict[str, Any]:
        """Be busy now and then, while messages come in."""
        chance = self._site.chance
        # Never before the first call of `receive`: a channel that has had none outlives its maker.
        if self._has_received and self._site.active.is_set() and chance.random() < 0.02:
            seconds = chance.uniform(0.5, 6)
            self._site.journal.note("busy", channel=self._channel, seconds=seconds)
            await asyncio.sleep(seconds)
        return await self._steadily()


async def visit(site: Site, send: Callable[[str], Coroutine[Any, Any, int]]) -> None:
    """Be a consumer in its own event loop, which ends soon, and clean up nothing.

    Args:
        site: The process.
        send: Sends a message to a channel, and returns its number.
    """
    with site.expecting_errors("new_channel", ""):
        channel = await site.layer.new_channel()
        with opened(site, channel):
            await Consumer(site).join(channel, site.chance.choice(GROUPS))
            await site.track(channel)
            number = await send(channel)
            await asyncio.wait_for(Receiver(site, channel).receive_until(number), PATIENCE)


async def read_general(site: Site, channel: str, readers: int) -> None:
    """Receive from a general channel, with several calls at once."""
    with opened(site, channel, readers=readers, general=True):
        await asyncio.gather(*(Receiver(site, channel).run() for _ in range(readers)))


class Consumer:
    """A consumer with its own channel, for one life."""

    def __init__(self, site: Site) -> None:
        self._site = site
        # What notes how each membership ends.
        self._groups: dict[str, Callable[..., None]] = {}

    async def run(self) -> None:
        """Live: open a channel, join groups, receive, and end in some way."""
        site = self._site
        channel = await self._open()
        with opened(site, channel):
            site.channels.add(channel)
            receiver = Receiver(site, channel)
            receiving = asyncio.create_task(receiver.run())
            try:
                await self._wander(channel)
                if site.chance.random() < FAILS:
                    receiver.fails = True
                    await asyncio.wait([receiving], timeout=PATIENCE)
            finally:
                site.channels.discard(channel)
                await cancel(receiving)

    async def _open(self) -> str:
        while True:
            with self._site.expecting_errors("new_channel", ""):
                channel: str = await self._site.layer.new_channel()
                return channel
            await asyncio.sleep(RETRY)

    async def _wander(self, channel: str) -> None:
        """Join a group that all are in, change others, and leave some at the end of life."""
        site = self._site
        await self.join(channel, ALL)
        await site.track(channel)
        remaining = SHORTEST_LIFE + site.about(LIFE)
        while remaining > 0:
            await site.active.wait()
            pause = min(site.about(STAY), remaining)
            await asyncio.sleep(pause)
            remaining -= pause
            if site.active.is_set():
                group = site.chance.choice(GROUPS)
                await (self._leave if group in self._groups else self.join)(channel, group)
        if site.chance.random() < LEAVES:
            for group in sorted(self._groups):
                await self._leave(channel, group)

    async def join(self, channel: str, group: str) -> None:
        """Join a group; now and then, give up under way."""
        site = self._site
        note = site.journal.note("memberships", "adding", group=group, channel=channel)
        self._groups[group] = note
        joining = asyncio.ensure_future(site.layer.group_add(group, channel))
        hasty = site.chance.random() < HASTY
        patience = site.chance.choice([0.0, 0.0005, 0.002]) if hasty else None
        try:
            await asyncio.wait([joining], timeout=patience)
        finally:
            await cancel(joining)
        with site.expecting_errors("group_add", channel):
            if not joining.cancelled():
                joining.result()
                note("added")

    async def _leave(self, channel: str, group: str) -> None:
        note = self._groups.pop(group)
        note("leaving")
        with self._site.expecting_errors("group_discard", channel):
            await self._site.layer.group_discard(group, channel)
            note("left")
