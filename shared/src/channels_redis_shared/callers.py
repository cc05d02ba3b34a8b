"""Decides for each event loop whether its calls use connections of its own, or those of all."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from .courier import courier

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .shards import Shards

Result = TypeVar("Result")

# How many calls a loop makes before it counts as one that lasts, and gets connections of its own.
SHORT_LIVED_CALLS = 10


@dataclass
class _Caller:
    """What is known of an event loop that has called."""

    calls: int = 0
    under_way: int = 0
    lasts: bool = False
    # Held by a call that is alone; those that come meanwhile wait behind it, in their order.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Callers:
    """The event loops that call a layer.

    Args:
        lives_here: Tells whether the running loop has connections of its own already.
        shards: Returns the command connections of the running loop, which lasts.
        direct: The command connections of loops that do not last; None if these have none.
    """

    def __init__(
        self,
        lives_here: Callable[[], bool],
        shards: Callable[[], Shards],
        direct: Shards | None,
    ) -> None:
        self._lives_here = lives_here
        self._shards = shards
        self._direct = direct
        self._callers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Caller] = (
            weakref.WeakKeyDictionary()
        )
        # Returns the one that was found to last most recently: mostly it is the only one.
        self._lasting: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None

    def run(self, make: Callable[[], Coroutine[Any, Any, Result]]) -> Coroutine[Any, Any, Result]:
        """Run the coroutine that `make` returns where the running loop's calls belong."""
        if self._lasting() is asyncio.get_running_loop():
            return make()
        return self._run(make)

    def send(
        self, make: Callable[[Shards], Coroutine[Any, Any, Result]]
    ) -> Coroutine[Any, Any, Result]:
        """Do the same for one that uses nothing of its loop but these command connections."""
        if self._lasting() is asyncio.get_running_loop():
            return make(self._shards())
        return self._run(lambda: make(self._shards()), make)

    async def _run(
        self,
        make: Callable[[], Coroutine[Any, Any, Result]],
        make_direct: Callable[[Shards], Coroutine[Any, Any, Result]] | None = None,
    ) -> Result:
        loop = asyncio.get_running_loop()
        caller = self._callers.get(loop)
        if caller is None:
            caller = self._callers[loop] = _Caller()
        if caller.lasts or self._lasts(caller):
            self._lasting = weakref.ref(loop)
            return await make()
        caller.calls += 1
        caller.under_way += 1
        try:
            direct = self._direct
            if direct is not None:
                if caller.calls > 1:
                    # What is asked for in one turn of the loop goes together, by the courier.
                    # Mostly nothing comes after the first, which does not wait for it.
                    await asyncio.sleep(0)
                # As are those of other threads, once there are several.
                is_alone = caller.under_way == 1 and not courier.get().is_busy
                async with caller.turn:
                    if is_alone and make_direct is not None:
                        return await make_direct(direct)
            return await courier.get().run(make)
        finally:
            caller.under_way -= 1

    async def close(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `close` in the running loop, and in the courier's if there is one."""
        try:
            await close()
            if courier.get().is_running:
                await courier.get().run(close)
        finally:
            if self._direct is not None:
                await self._direct.close()

    def _lasts(self, caller: _Caller) -> bool:
        # Not while calls are under way on the courier's connection: a later one on another
        # connection might overtake them.
        if not caller.under_way:
            caller.lasts = caller.calls >= SHORT_LIVED_CALLS or self._lives_here()
        return caller.lasts
