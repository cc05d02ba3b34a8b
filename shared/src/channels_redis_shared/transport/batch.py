"""Decides which of the calls that wait one write carries, and which of them one command."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .commands import pack
from .scripts import name_keys

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from .commands import Command

# A write keeps the server from everybody else while it is carried out, so it is bounded.
MAX_COMMANDS = 1000
MAX_BYTES = 1_000_000
# So is a script, in how many things it does.
MAX_JOINED = 100


class Joint(Protocol):
    """Makes one command of the parts of several calls, and their replies of its reply."""

    def command(self, parts: Sequence[Any]) -> Command:
        """Return the command that does what the parts say, in order."""

    def replies(self, reply: Any, parts: Sequence[Any]) -> Sequence[Any]:
        """Return the reply to each of the parts, or the error that its caller gets."""


@dataclass(eq=False, slots=True)
class Call:
    """What one caller asks for, and the future of its reply."""

    # A command as it goes over the wire; or with `joint`, a part for it: some sequence.
    content: Any
    joint: Joint | None
    # About how many bytes it has.
    size: int
    reply: asyncio.Future[Any]
    # The event loop's time until which it may be sent.
    deadline: float
    # Whether it may be carried out twice: never so for what adds or returns a message.
    repeatable: bool
    # Message keys that it adds a message to, and how many one write may add to each.
    fills: Mapping[str, int]
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
class Bundle:
    """The calls that one command carries."""

    calls: list[Call]
    packed: bytes

    def fail(self, error: Exception) -> None:
        """Give each call the error that the server replied."""
        error = name_keys(error, self.packed)
        for call in self.calls:
            call.fail(error)

    def answer(self, reply: Any) -> None:
        """Give each call its own reply."""
        joint = self.calls[0].joint
        if joint is None:
            self.calls[0].answer(reply)
            return
        replies = joint.replies(reply, [call.content for call in self.calls])
        for call, own in zip(self.calls, replies, strict=True):
            if isinstance(own, Exception):
                call.fail(own)
            else:
                call.answer(own)


def next_batch(calls: deque[Call]) -> list[Call]:
    """Remove from `calls` what the next write carries, in order.

    The server carries out a whole write before the reader that the first message woke takes
    anything, so one write must not fill a message key to its capacity.
    """
    batch: list[Call] = []
    filled: Counter[str] = Counter()
    size = 0
    while calls and len(batch) < MAX_COMMANDS and size < MAX_BYTES:
        call = calls[0]
        if call.fills:
            if any([filled[key] >= most for key, most in call.fills.items()]):  # noqa: C419 - faster
                break
            for key in call.fills:
                filled[key] += 1
        size += call.size
        batch.append(calls.popleft())
    return batch


def bundles(batch: Sequence[Call]) -> list[Bundle]:
    """Return the commands that the batch makes: neighbours of equal joint and slot share one."""
    commands: list[Bundle] = []
    # Those since the last command that have one joint and slot, and how long their parts are.
    joint, slot, joined = None, None, 0
    neighbours: list[Call] = []
    for call in batch:
        if joint is not None and (
            # Mostly the same object, and comparing two takes ten times as long.
            (call.joint is not joint and call.joint != joint)
            or call.slot != slot
            or joined + len(call.content) > MAX_JOINED
        ):
            commands.append(_joined(joint, neighbours))
            joint = None
        if call.joint is None:
            commands.append(Bundle([call], call.content))
            continue
        if joint is None:
            joint, slot, joined, neighbours = call.joint, call.slot, 0, []
        neighbours.append(call)
        joined += len(call.content)
    if joint is not None:
        commands.append(_joined(joint, neighbours))
    return commands


def _joined(joint: Joint, calls: list[Call]) -> Bundle:
    return Bundle(calls, pack(joint.command([call.content for call in calls])))


def copy_of(error: BaseException) -> BaseException:
    """Return an equal error: one raised in many callers would gather all their tracebacks."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error.__cause__
    return copy
