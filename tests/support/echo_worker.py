"""Answers requests, for `test_processes`. Its argument ``loop`` chooses the way to read them."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from support.worker import arguments, async_requests, reply, requests


def answer(request: dict[str, Any]) -> None:
    """Do what one request asks for."""
    if "echo" in request:
        reply(echo=request["echo"])
    if "environment" in request:
        reply(value=os.environ[request["environment"]])
    if "path" in request:
        reply(path=sys.path)
    if "write" in request:
        sys.stdout.write(request["write"])
        sys.stdout.flush()
    if "fail" in request:
        raise ValueError(request["fail"])


async def main() -> None:
    """Answer requests, and tick meanwhile to show that the event loop goes on."""
    ticks = asyncio.get_running_loop().call_later(0.01, lambda: reply(tick=True))
    async for request in async_requests():
        answer(request)
    ticks.cancel()


reply(ready=True, arguments=arguments())
if arguments().get("loop"):
    asyncio.run(main())
else:
    for request in requests():
        answer(request)
