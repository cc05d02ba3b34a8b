"""Decide which pending commands go in one write, and which of them are coalesced into one."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .commands import name_keys, pack

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from .commands import Command

# The server serves no one else while it executes a write, so a write is bounded.
MAX_COMMANDS = 1000
MAX_BYTES = 1_000_000
# So is a script, in the number of its parts.
MAX_COALESCED = 100


class Coalescer(Protocol):
    """Coalesces parts of several calls into one command, and splits its reply."""

    def command(self, parts: Sequence[Any]) -> Command:
        """Return the command that executes the parts, in order."""

    def replies(self, reply: Any, parts: Sequence[Any]) -> Sequence[Any]:
        """Return the reply to each part, or the error to raise in its caller."""


@dataclass(eq=False, slots=True)
class PendingCommand:
    """A command that was not sent yet, and the future of its reply."""

    # A packed command; or with `coalescer`, a part for it: a sequence.
    content: Any
    coalescer: Coalescer | None
    # Its approximate size in bytes.
    size: int
    reply: asyncio.Future[Any]
    # The event loop's time after which it fails instead of being sent.
    deadline: float
    # Safe to execute twice: never true of a command that adds or returns a message.
    idempotent: bool
    # The message keys it adds a message to, and how many one write may add to each.
    quotas: Mapping[str, int]
    # Its slot in a Cluster.
    slot: int | None = None

    def answer(self, reply: Any) -> None:
        """Return the reply to the caller."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: BaseException) -> None:
        """Raise the error in the caller, in an instance of its own."""
        if not self.reply.done():
            self.reply.set_exception(copy_of(error))
            # Marked as retrieved: asyncio would log it if the caller is gone.
            self.reply.exception()


@dataclass(slots=True)
class CoalescedCommand:
    """One command for the server, and the calls it was made of."""

    calls: list[PendingCommand]
    packed: bytes

    def fail(self, error: Exception) -> None:
        """Give each call the error that the server replied."""
        error = name_keys(error, self.packed)
        for call in self.calls:
            call.fail(error)

    def answer(self, reply: Any) -> None:
        """Give each call its own reply."""
        coalescer = self.calls[0].coalescer
        if coalescer is None:
            self.calls[0].answer(reply)
            return
        replies = coalescer.replies(reply, [call.content for call in self.calls])
        for call, own in zip(self.calls, replies, strict=True):
            if isinstance(own, Exception):
                call.fail(own)
            else:
                call.answer(own)


def next_batch(calls: deque[PendingCommand]) -> list[PendingCommand]:
    """Remove the calls of the next write from `calls`, in order.

    The server executes a whole write before the reader that the first message woke takes anything,
    so one write must not fill a message key to its capacity.
    """
    batch: list[PendingCommand] = []
    filled: Counter[str] = Counter()
    size = 0
    while calls and len(batch) < MAX_COMMANDS and size < MAX_BYTES:
        call = calls[0]
        if call.quotas:
            if any([filled[key] >= quota for key, quota in call.quotas.items()]):  # noqa: C419 - faster
                break
            for key in call.quotas:
                filled[key] += 1
        size += call.size
        batch.append(calls.popleft())
    return batch


def coalesce(batch: Sequence[PendingCommand]) -> list[CoalescedCommand]:
    """Coalesce neighbouring calls that have an equal coalescer and slot."""
    commands: list[CoalescedCommand] = []
    # The calls to coalesce next, and the total length of their parts.
    coalescer, slot, length = None, None, 0
    neighbours: list[PendingCommand] = []
    for call in batch:
        if coalescer is not None and (
            # Mostly the same object, and comparing two takes ten times as long.
            (call.coalescer is not coalescer and call.coalescer != coalescer)
            or call.slot != slot
            or length + len(call.content) > MAX_COALESCED
        ):
            commands.append(_coalesced(coalescer, neighbours))
            coalescer = None
        if call.coalescer is None:
            commands.append(CoalescedCommand([call], call.content))
            continue
        if coalescer is None:
            coalescer, slot, length, neighbours = call.coalescer, call.slot, 0, []
        neighbours.append(call)
        length += len(call.content)
    if coalescer is not None:
        commands.append(_coalesced(coalescer, neighbours))
    return commands


def _coalesced(coalescer: Coalescer, calls: list[PendingCommand]) -> CoalescedCommand:
    return CoalescedCommand(calls, pack(coalescer.command([call.content for call in calls])))


def copy_of(error: BaseException) -> BaseException:
    """Return a copy of an error: one raised in many callers would gather all their tracebacks."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error.__cause__
    return copy
