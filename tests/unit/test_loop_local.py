"""Values that event loops have of their own."""

from __future__ import annotations

import asyncio
import threading

from channels_redis_shared.concurrency import LoopLocal


class Value:
    """Something to close."""

    async def close(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""


class Loop(asyncio.SelectorEventLoop):
    """Asked whether it is closed, it lets another loop end in another thread."""

    other: asyncio.AbstractEventLoop | None = None

    def is_closed(self) -> bool:
        """Return as usual, later."""
        other, self.other = self.other, None
        if other is not None:
            end = threading.Thread(
                target=lambda: other.run_until_complete(other.shutdown_asyncgens())
            )
            end.start()
            end.join()
        return super().is_closed()


def test_loops_that_end_while_another_begins() -> None:
    """A thread's loop may end while another thread looks for closed ones."""
    values = LoopLocal(Value)

    async def use() -> None:
        values.get()

    first, second, third = Loop(), asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(use())
    second.run_until_complete(use())
    first.other = second
    third.run_until_complete(use())
    assert len(values.values()) == 2
    for loop in (first, second, third):
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert not values.values()
