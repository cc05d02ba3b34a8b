"""Puts together what a layer has in one process."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from ._shared.blocking import SynchronousCallers
from ._shared.loops import LoopLocal
from ._shared.mailbox import Mailboxes
from ._shared.outages import OutageLog
from ._shared.overflows import OverflowLog
from ._shared.owners import Owners
from ._shared.statistics import Dropped, Statistics
from .delivery import Item, is_notice
from .home import Home

if TYPE_CHECKING:
    from ._shared.mailbox import Mailbox
    from ._shared.shards import Shards
    from .settings import Settings

logger = logging.getLogger(__package__)

# Seconds that a channel whose consumer's task has ended is kept for another one.
PATIENCE = 60.0


class Process:
    """One layer in one process: its channels, their mailboxes, its event loops.

    A channel is heard in one event loop, that in which it was made; consumers may run in others.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._publish = "SPUBLISH" if settings.sharded_pubsub else "PUBLISH"
        self._overflows = OverflowLog(logger)
        self._mailboxes: Mailboxes[Item] = Mailboxes(
            settings.capacity, self._overflows.dropped, is_notice, settings.counters
        )
        self._outages = [
            OutageLog(logger, str(connector.host)) for connector in settings.connectors
        ]
        self._homes = LoopLocal(self._make_home)
        self._synchronous = SynchronousCallers(
            settings.connectors, (), settings.counters, by_key=settings.sharded_pubsub
        )
        self._lock = threading.Lock()
        # The event loop in which each channel is heard.
        self._home_of: dict[str, Home] = {}
        # The tasks that made channels; and the channels whose task has ended, until somebody
        # receives on them again.
        self.owners = Owners(self._orphaned)
        self._orphans: set[str] = set()

    def __contains__(self, channel: object) -> bool:
        """Tell whether the channel is open."""
        return channel in self._home_of

    async def open(self, channel: str, *, patient: bool = False) -> None:
        """Hear a channel in the running event loop; return when the server has confirmed it.

        Args:
            channel: The channel.
            patient: Whether to wait for as long as the server is away.

        Raises:
            redis.exceptions.RedisError: As `Subscriber.live`. The channel is not heard then.
        """
        home = self._homes.get()
        home.audience.open(channel)
        self._home_of[channel] = home
        try:
            await home.live(channel.encode(), patient=patient)
        except BaseException:
            self.close(channel)
            raise

    def close(self, channel: str) -> None:
        """Forget a channel, its messages, its groups, and the subscriptions that it alone needs."""
        home = self._home_of.pop(channel, None)
        if home is not None:
            home.look_at(home.audience.close(channel))
        self._mailboxes.discard(channel)
        self._overflows.forget(channel)
        self._orphans.discard(channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, which is opened if it is not.

        Raises:
            redis.exceptions.RedisError: The server refuses the subscription, or the connection.
        """
        if self.owners.unheard or self._orphans:
            self.owners.unheard.discard(channel)
            self._orphans.discard(channel)
        find = self._mailboxes.find
        box = find(channel) or self._mailboxes.open(channel)
        item = box.take()
        while item is None:
            home = self._home_of.get(channel)
            if home is None or home.ended:
                await self._open_again(channel, home)
            waiter = box.queue_up()
            try:
                # A mailbox that was discarded before we queued up gets nothing any more.
                if find(channel) is box:
                    await waiter
            except BaseException:
                self._give_up(channel, box, waiter)
                raise
            box = find(channel) or self._mailboxes.open(channel)
            item = box.take()
        self._settings.counters.received += 1
        return item.open()

    async def join(self, topic: bytes, channel: str) -> bool:
        """Let a channel hear a group; return when the server has confirmed it.

        Returns:
            Whether the channel is one of this process.

        Raises:
            redis.exceptions.RedisError: As `Subscriber.live`. The channel has not joined then.
        """
        home = self._home_of.get(channel)
        if home is None:
            return False
        if home.ended:
            home = await self._move(channel, home)
        call = home.audience.join(topic, channel)
        try:
            await home.live(topic)
        except BaseException:
            home.audience.join_failed(topic, channel, call)
            home.look_at((topic,))
            raise
        home.audience.joined(topic, channel, call)
        return True

    def leave(self, topic: bytes, channel: str) -> None:
        """Let a channel no longer hear a group."""
        home = self._home_of.get(channel)
        if home is not None:
            home.audience.leave(topic, channel)
            home.look_at((topic,))

    async def publish(self, topic: str, data: bytes) -> None:
        """Send bytes to all who hear a topic, in whichever process.

        Raises:
            redis.exceptions.RedisError: As `Commands.execute`.
        """
        command = (self._publish, topic, data)
        await self._shards().of(topic).execute(command, key=topic)
        self._settings.counters.sent += 1

    def statistics(self) -> Statistics:
        """Return what the layer has done in this process, and has now."""
        counters = self._settings.counters
        groups = set().union(*(home.audience.groups() for home in self._homes.values()))
        lost = sum(outages.reconnects for outages in self._outages)
        return Statistics(
            sent=counters.sent,
            received=counters.received,
            dropped=Dropped(undecodable=counters.undecodable, mailbox_full=self._overflows.total),
            reconnects=counters.reconnects + lost,
            outage_seconds=sum(outages.seconds for outages in self._outages),
            mailboxes=len(self._mailboxes),
            waiting=self._mailboxes.unread,
            groups=len(groups),
            commands=counters.commands,
            round_trips=counters.round_trips,
        )

    def flush(self) -> None:
        """Drop all unread messages, and let all channels leave their groups."""
        for home in self._homes.values():
            home.look_at(home.audience.leave_groups())
        self._mailboxes.clear()

    async def close_connections(self) -> None:
        """Close what is open in the running event loop, and for synchronous callers."""
        try:
            await self._homes.close()
        finally:
            await self._synchronous.close()

    def _give_up(self, channel: str, box: Mailbox[Item], waiter: asyncio.Future[None]) -> None:
        """Close a channel if a cancelled call was the last that waited for it."""
        woken = waiter.done() and not waiter.cancelled()
        others = box.waiting if woken else box.waiting - 1
        # What lies there while one waits is for others, who were woken and have yet to take it.
        in_use = others > 0 or (box.size > 0 and not woken)
        box.withdraw(waiter)
        if not in_use:
            self.close(channel)

    def _orphaned(self, channel: str) -> None:
        """Close a channel whose consumer's task has ended, unless somebody receives on it soon."""
        if channel in self._home_of and not self._mailboxes.waiting(channel):
            self._orphans.add(channel)
            asyncio.get_running_loop().call_later(PATIENCE, self._close_orphan, channel)

    def _close_orphan(self, channel: str) -> None:
        if channel in self._orphans:
            self._orphans.discard(channel)
            # One who was just being woken when the task ended may wait again.
            if not self._mailboxes.waiting(channel):
                self.close(channel)

    async def _open_again(self, channel: str, home: Home | None) -> None:
        if home is None:
            await self.open(channel, patient=True)
        else:
            await self._move(channel, home)

    async def _move(self, channel: str, old: Home) -> Home:
        """Hear a channel and its groups in this event loop, since that of before has ended."""
        here = self._homes.get()
        with self._lock:
            home = self._home_of.get(channel)
            if home is old:
                self._home_of[channel] = home = here
                here.audience.open(channel, old.audience.close(channel))
        try:
            if home is here:
                here.look_at(here.audience.topics_of(channel))
                await here.live(channel.encode(), patient=True)
        except BaseException:
            self.close(channel)
            raise
        return here

    def _shards(self) -> Shards:
        """Return the command connections for calls of the running event loop."""
        home = self._homes.find()
        shards = self._synchronous.shards() if home is None else home.shards
        return shards or self._homes.get().shards

    def _make_home(self) -> Home:
        return Home(self._settings, self._mailboxes, self._outages, self._ended)

    def _ended(self, home: Home) -> None:
        """Forget the channels of an event loop that nobody waits for in another one."""
        for channel in home.audience.channels():
            if not self._mailboxes.waiting(channel):
                self.close(channel)
        # The others move to where they are waited for.
        self._mailboxes.wake_all()
