"""Counting the Python code of a layer through which a message passes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support import inside
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@dataclass
class Passed:
    """The code on the way of a message.

    Attributes:
        calls: The number of calls of each function of the package, by module, and by name and line.
    """

    calls: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def modules(self) -> set[str]:
        """The modules, as paths within the package."""
        return {module for module, _ in self.calls}

    @property
    def counts(self) -> tuple[int, int, int]:
        """The numbers of modules, functions and calls."""
        return len(self.modules), len(self.calls), sum(self.calls.values())

    @contextlib.contextmanager
    def count(self, layer: Any) -> Iterator[None]:
        """Count anew the calls of functions of a layer's package."""
        package = f"/{type(layer).__module__.partition('.')[0]}/"
        self.calls.clear()

        def note(frame: Any, event: str, _argument: object) -> None:
            code = frame.f_code
            path = code.co_filename.partition(package)[2]
            # Python 3.12 no longer calls a comprehension.
            if event == "call" and path and not code.co_name.startswith("<"):
                function = path, f"{code.co_name}:{code.co_firstlineno}"
                self.calls[function] = self.calls.get(function, 0) + 1

        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)


async def passed(layer: Any, channel: str, send: Callable[[], Awaitable[None]]) -> Passed:
    """Count from a call that sends to the return of a `receive` that waits for the message.

    Args:
        layer: The receiving layer.
        channel: The channel.
        send: Sends one message that arrives there. It is called three times, since the first time
            is not what most are like; the last counts.
    """
    way = Passed()
    for _ in range(3):
        receiving = asyncio.create_task(layer.receive(channel))
        await eventually(lambda: inside.waiting_calls(layer, channel))
        with way.count(layer):
            await send()
            await receiving
    return way
