"""Decides which of the calls that wait one write carries, and which of them one command."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .commands import name_keys, pack

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from .commands import Command

# A write keeps the server from everybody else while it is carried out, so it is bounded.
MAX_COMMANDS = 1000
MAX_BYTES = 1_000_000
# So is a script, in how many things it does.
MAX_COALESCED = 100


class Coalescer(Protocol):
    """Makes one command of the parts of several calls, and their replies of its reply."""

    def command(self, parts: Sequence[Any]) -> Command:
        """Return the command that does what the parts say, in order."""

    def replies(self, reply: Any, parts: Sequence[Any]) -> Sequence[Any]:
        """Return the reply to each of the parts, or the error that its caller gets."""


@dataclass(eq=False, slots=True)
class PendingCommand:
    """What one caller asks for, and the future of its reply."""

    # A command as it goes over the wire; or with `coalescer`, a part for it: some sequence.
    content: Any
    coalescer: Coalescer | None
    # About how many bytes it has.
    size: int
    reply: asyncio.Future[Any]
    # The event loop's time until which it may be sent.
    deadline: float
    # Whether it may be carried out twice: never so for what adds or returns a message.
    idempotent: bool
    # Message keys that it adds a message to, and how many one write may add to each.
    quotas: Mapping[str, int]
    # Which slot of a Cluster it is for.
    slot: int | None = None

    def answer(self, reply: Any) -> None:
        """Return the reply to the caller."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: BaseException) -> None:
        """Raise the error in the caller, in an instance of its own."""
        if not self.reply.done():
            self.reply.set_exception(copy_of(error))
            # The caller may be gone: then nobody retrieves it, and that is no fault.
            self.reply.exception()


@dataclass(slots=True)
class CoalescedCommand:
    """The calls that one command carries."""

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
    """Remove from `calls` what the next write carries, in order.

    The server carries out a whole write before the reader that the first message woke takes
    anything, so one write must not fill a message key to its capacity.
    """
    batch: list[PendingCommand] = []
    filled: Counter[str] = Counter()
    size = 0
    while calls and len(batch) < MAX_COMMANDS and size < MAX_BYTES:
        call = calls[0]
        if call.quotas:
            if any([filled[key] >= most for key, most in call.quotas.items()]):  # noqa: C419 - faster
                break
            for key in call.quotas:
                filled[key] += 1
        size += call.size
        batch.append(calls.popleft())
    return batch


def coalesce(batch: Sequence[PendingCommand]) -> list[CoalescedCommand]:
    """Return the commands that the batch makes: neighbours of equal joint and slot share one."""
    commands: list[CoalescedCommand] = []
    # Those since the last command that have one joint and slot, and how long their parts are.
    coalescer, slot, joined = None, None, 0
    neighbours: list[PendingCommand] = []
    for call in batch:
        if coalescer is not None and (
            # Mostly the same object, and comparing two takes ten times as long.
            (call.coalescer is not coalescer and call.coalescer != coalescer)
            or call.slot != slot
            or joined + len(call.content) > MAX_COALESCED
        ):
            commands.append(_joined(coalescer, neighbours))
            coalescer = None
        if call.coalescer is None:
            commands.append(CoalescedCommand([call], call.content))
            continue
        if coalescer is None:
            coalescer, slot, joined, neighbours = call.coalescer, call.slot, 0, []
        neighbours.append(call)
        joined += len(call.content)
    if coalescer is not None:
        commands.append(_joined(coalescer, neighbours))
    return commands


def _joined(coalescer: Coalescer, calls: list[PendingCommand]) -> CoalescedCommand:
    return CoalescedCommand(calls, pack(coalescer.command([call.content for call in calls])))


def copy_of(error: BaseException) -> BaseException:
    """Return an equal error: one raised in many callers would gather all their tracebacks."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error.__cause__
    return copy
