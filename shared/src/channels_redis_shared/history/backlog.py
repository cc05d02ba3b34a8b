"""Hold back what is for channels that are behind in a group, so that it overtakes nothing."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager

    from ..delivery.mailboxes import Mailboxes


class Backlog:
    """The items that arrived after messages for which their channels wait, in order.

    A channel may be behind in several groups. Each of these waits has a number, in the order of
    their beginnings; a held item waits for the latest that had begun, and then for those before.

    Args:
        mailboxes: The mailboxes of the channels.
        waits_of: Returns the numbers of what a channel waits for.
        lock: Held in each call of a follower, too. A thread may take it again.
    """

    def __init__(
        self,
        mailboxes: Mailboxes,
        waits_of: Callable[[str], Iterable[int]],
        lock: AbstractContextManager[Any],
    ) -> None:
        self._mailboxes = mailboxes
        self._waits_of = waits_of
        self.lock = lock
        # The groups in which a channel is behind. Without one, use the mailboxes.
        self.groups: set[object] = set()
        self._held: dict[str, list[tuple[int, Callable[[], object]]]] = {}

    def put(
        self,
        channels: Collection[str],
        item: Any,
        deadline: float = math.inf,
        size: int = 0,
        before: int = 0,
    ) -> None:
        """Put a message into mailboxes, or hold it back.

        Args:
            channels: The channels.
            item: As for `Mailboxes.put`, like the next two.
            deadline: As above.
            size: As above.
            before: Wait only for what has a lower number; 0: for anything.
        """
        put = self._mailboxes.put
        if self.groups:
            with self.lock:
                channels = [
                    one
                    for one in channels
                    if not self.hold(one, partial(put, (one,), item, deadline, size), before)
                ]
        if channels:
            put(channels, item, deadline, size)

    def hold(self, channel: str, action: Callable[[], object], before: int = 0) -> bool:
        """Do something once a channel has what it waits for; return False if it waits for nothing.

        Args:
            channel: The channel.
            action: Called then.
            before: Wait only for what has a lower number; 0: for anything.
        """
        with self.lock:
            waits = self._waits_of(channel)
            number = max((one for one in waits if not before or one < before), default=0)
            if number:
                self._held.setdefault(channel, []).append((number, action))
            elif not before:
                # What is left of a wait that the garbage collector has ended.
                for _, earlier in self._held.pop(channel, ()):
                    earlier()
            return bool(number)

    def release(self, number: int, channels: Iterable[str] | None = None) -> None:
        """Let go what waited for something, unless it has to wait for something before that.

        Args:
            number: The number of what has come.
            channels: Those that waited for it. Default: all.
        """
        with self.lock:
            for channel in list(self._held) if channels is None else channels:
                held = self._held.pop(channel, [])
                others = [one for one in held if one[0] != number]
                if others:
                    self._held[channel] = others
                for waited_for, action in held:
                    if waited_for == number and not self.hold(channel, action, number):
                        action()

    def forget(self, channel: str) -> None:
        """Drop what a channel waits for: it has ended."""
        self._held.pop(channel, None)
