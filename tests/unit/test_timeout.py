"""Time limits."""

from __future__ import annotations

import asyncio

import pytest

from channels_redis_shared.concurrency import timeout


async def test_body_that_ends_in_time() -> None:
    """Nothing is cancelled later; its errors pass."""
    with pytest.raises(KeyError):
        async with timeout(0.01):
            raise KeyError
    async with timeout(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)


async def test_limits_within_each_other() -> None:
    """The inner one ends only its own body."""
    async with timeout(60):
        with pytest.raises(asyncio.TimeoutError):
            async with timeout(0.01):
                await asyncio.Event().wait()
        await asyncio.sleep(0)


async def test_caller_that_is_cancelled() -> None:
    """It is no timeout."""

    async def wait() -> None:
        async with timeout(60):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
