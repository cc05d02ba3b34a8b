"""The worker's side of `support.processes`: requests from stdin, replies to stdout.

Only the standard library, so that a worker may run in an environment that has nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LONGEST_LINE = 2**25  # bytes


def arguments() -> dict[str, Any]:
    """Return the arguments that the test gave to `run_process`."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def reply(**message: Any) -> None:  # anything that JSON can hold
    """Send a message to the test."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def requests() -> Iterator[dict[str, Any]]:
    """Yield what the test sends until it calls `stop`, for workers without an event loop."""
    for line in sys.stdin:
        yield json.loads(line)


async def async_requests() -> AsyncIterator[dict[str, Any]]:
    """Yield what the test sends until it calls `stop`, while the event loop goes on."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            yield json.loads(line)
    finally:
        transport.close()


async def answer_calls(*objects: Any) -> None:
    """Do what `support.processes.Remote` asks for until the test calls `stop`.

    Args:
        objects: A method is called on the first of them that has it.
    """
    async for request in async_requests():
        method = request["method"]
        owner = next(each for each in objects if hasattr(each, method))
        try:
            result = await getattr(owner, method)(*request["arguments"])
        except Exception as error:  # noqa: BLE001 - the test wants to see each
            reply(error=repr(error))
        else:
            reply(result=result)
