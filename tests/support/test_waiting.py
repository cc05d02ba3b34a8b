from __future__ import annotations

import asyncio

import pytest

from support.waiting import eventually


async def test_returns_what_became_true() -> None:
    """The predicate's first true value is returned."""
    values = iter([0, None, "", "done", "later"])
    assert await eventually(lambda: next(values)) == "done"


async def test_awaits_coroutine_functions() -> None:
    """A coroutine function will do, and other tasks run between the looks."""
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, event.set)

    async def is_set() -> bool:
        return event.is_set()

    assert await eventually(is_set)


async def test_gives_up_and_says_what_it_saw() -> None:
    """After the deadline the error names the predicate and its last value."""

    def never() -> list[int]:
        return []

    with pytest.raises(TimeoutError, match=r"never did not become true within 0.01 s; it is \[\]"):
        await eventually(never, timeout=0.01)
