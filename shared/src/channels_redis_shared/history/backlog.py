"""Hold back what is for channels that are behind in a group, so that it overtakes nothing."""

from __future__ import annotations

import math
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ..delivery.mailboxes import Mailboxes


class Wait:
    """The place of what a channel has missed in a group, among all that the channel gets.

    Attributes:
        channel: The channel.
        is_over: True once nothing is missing any more.
        missed: Calls that deliver what it has missed, if it waits for something else before.
        later: Calls that deliver what has come since.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.is_over = False
        self.missed: list[Callable[[], object]] = []
        self.later: list[Callable[[], object]] = []


class Backlog:
    """The waits of the channels that are behind, in order, and what is held back for them.

    Args:
        mailboxes: The mailboxes of the channels.
    """

    def __init__(self, mailboxes: Mailboxes) -> None:
        self._mailboxes = mailboxes
        # By channel; it may be behind in several groups. Without any, use the mailboxes.
        self.waits: dict[str, deque[Wait]] = {}

    def begin(self, wait: Wait) -> None:
        """Hold back what comes for a channel from now on."""
        self.waits.setdefault(wait.channel, deque()).append(wait)

    def put(
        self,
        channels: Collection[str],
        item: Any,
        deadline: float = math.inf,
        size: int = 0,
        awaited: Mapping[str, Wait] | None = None,
    ) -> None:
        """Put a message into mailboxes, or hold it back.

        Args:
            channels: The channels.
            item: As for `Mailboxes.put`, like the next two.
            deadline: As above.
            size: As above.
            awaited: By channel, the waits that are for this.
        """
        put = self._mailboxes.put
        if self.waits:
            own, free = awaited or {}, []
            for channel in channels:
                self._release(channel)
                waits, wait = self.waits.get(channel), own.get(channel)
                if waits is None or waits[0] is wait:
                    free.append(channel)
                else:
                    held = wait.missed if wait else waits[-1].later
                    held.append(partial(put, (channel,), item, deadline, size))
            channels = free
        if channels:
            put(channels, item, deadline, size)

    def end(self, waits: Iterable[Wait]) -> None:
        """Let go what has come after these, unless it waits for something else."""
        for wait in waits:
            wait.is_over = True
            self._release(wait.channel)

    def forget(self, channel: str) -> None:
        """Drop what a channel waits for: it has ended."""
        self.waits.pop(channel, None)

    def _release(self, channel: str) -> None:
        waits = self.waits.get(channel)
        while waits and waits[0].is_over:
            wait = waits.popleft()
            if not waits:
                self.waits.pop(channel, None)
            for action in (*wait.missed, *wait.later):
                action()
