"""The calls that share a write, and those that share a command."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis.exceptions

from channels_redis_shared.transport import pipeline
from channels_redis_shared.transport.commands import PendingCommand, copy_of
from channels_redis_shared.transport.pipeline import coalesce, next_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from channels_redis_shared.transport.commands import Command


# That of the replies, for which no test waits.
LOOP = asyncio.new_event_loop()
LOOP.close()


@dataclass(frozen=True)
class Sum:
    """Joins numbers into one command, of which the reply is a list of them."""

    name: str

    def command(self, parts: Sequence[Any]) -> Command:
        """The command with all numbers."""
        return (self.name, *(number for part in parts for number in part))

    def replies(self, reply: Any, parts: Sequence[Any]) -> list[Any]:
        """The reply with each part's sum."""
        return [(reply, sum(part)) for part in parts]


def call(content: Any, coalescer: Sum | None = None, **options: Any) -> PendingCommand:
    """A call."""
    fields: dict[str, Any] = {"size": 1, "idempotent": False, "quota": 0, "key": "", **options}
    command = PendingCommand(content=content, coalescer=coalescer, **fields)
    command.reply = asyncio.Future(loop=LOOP)
    return command


def waiting(count: int, size: int = 1) -> deque[PendingCommand]:
    """Calls that wait."""
    return deque(call(b"%d" % number, size=size) for number in range(count))


def contents(batch: Sequence[PendingCommand]) -> list[Any]:
    """Return what the calls ask for."""
    return [each.content for each in batch]


def test_cancelled_call_is_not_written() -> None:
    """A call that was cancelled before the write is left out, and the others go."""
    queue = waiting(3)
    queue[1].reply.cancel()
    assert contents(next_batch(queue)) == [b"0", b"2"]


def test_one_write_is_bounded() -> None:
    """In commands, and in bytes; a call that is larger than the limit is sent alone."""
    queue = waiting(pipeline.MAX_COMMANDS + 1)
    assert len(next_batch(queue)) == pipeline.MAX_COMMANDS
    assert contents(next_batch(queue)) == [b"%d" % pipeline.MAX_COMMANDS]
    queue = waiting(3, size=pipeline.MAX_BYTES)
    assert [len(next_batch(queue)) for _ in range(3)] == [1, 1, 1]


def test_full_key_holds_back_what_comes_after_it() -> None:
    """Calls stay in order: those of other callers do not overtake."""
    queue = deque(
        [call("a", quota=9), call("b"), call("c", quota=2), call("d", quota=2), call("e")]
    )
    assert contents(next_batch(queue)) == ["a", "b", "c"]
    assert contents(next_batch(queue)) == ["d", "e"]


def test_one_command_is_bounded() -> None:
    """A script does only so many things at once; a larger part goes alone."""
    many = [call([number], Sum("A")) for number in range(pipeline.MAX_COALESCED + 1)]
    assert [len(coalesced.calls) for coalesced in coalesce(many)] == [pipeline.MAX_COALESCED, 1]
    over = pipeline.MAX_COALESCED + 5
    large = [call([1] * count, Sum("A")) for count in (over, 1, over)]
    assert [len(coalesced.calls) for coalesced in coalesce(large)] == [1, 1, 1]


def test_each_caller_gets_its_own_error() -> None:
    """One error raised in many callers would gather all their tracebacks."""
    error, batch = redis.exceptions.ResponseError("no"), [call(b""), call(b"")]
    for each in batch:
        each.fail(error)
    raised = [each.reply.exception() for each in batch]
    assert list(map(str, raised)) == ["no", "no"]
    assert len({id(each) for each in (*raised, error)}) == 3


def test_error_that_cannot_be_copied() -> None:
    """It is raised itself; a copy keeps its cause."""

    class Special(redis.exceptions.RedisError):
        def __init__(self, *, needed: int) -> None:
            super().__init__(needed)

    special = Special(needed=1)
    assert copy_of(special) is special
    error = redis.exceptions.ConnectionError("lost")
    error.__cause__ = OSError("why")
    assert copy_of(error).__cause__ is error.__cause__
