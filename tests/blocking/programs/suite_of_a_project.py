"""The tests of some project: one layer for all of them, and an event loop for each."""

from __future__ import annotations

import asyncio
import unittest

from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

layer = make_layer()


class ChatTest(unittest.IsolatedAsyncioTestCase):
    """Tests with a loop each."""

    async def asyncSetUp(self) -> None:
        """Keep the loop, which is in debug mode, from warning that the machine is slow."""
        asyncio.get_running_loop().slow_callback_duration = 10

    async def talk(self) -> None:
        """Get what is sent to a group."""
        channel = await layer.new_channel()
        receiving = asyncio.ensure_future(layer.receive(channel))
        await asyncio.sleep(0)
        await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "hello"})
        assert await receiving == {"type": "hello"}

    async def leave_waiting(self) -> None:
        """End while a consumer waits."""
        self.waiting = asyncio.ensure_future(layer.receive(await layer.new_channel()))
        await asyncio.sleep(0)


class SyncTest(unittest.TestCase):
    """Tests without a loop."""

    def send(self) -> None:
        """Send from synchronous code."""
        async_to_sync(layer.group_send)("room", {"type": "hello"})


tests = [
    test
    for _ in range(7)
    for test in (ChatTest("talk"), ChatTest("leave_waiting"), SyncTest("send"))
]
result = unittest.TestResult()
unittest.TestSuite(tests).run(result)
say(result.testsRun, "run", *result.errors, *result.failures)
