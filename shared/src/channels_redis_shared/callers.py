"""Decides for each event loop whether its calls run in it, or go to the courier."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .courier import Courier
from .forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")

# How many calls a loop makes before it counts as one that lasts, and gets connections of its own.
SHORT_LIVED_CALLS = 10

# All layers of a process share it.
_courier = PerProcess(Courier)


@dataclass
class _Caller:
    """What is known of an event loop that has called."""

    calls: int = 0
    under_way: int = 0
    lasts: bool = False


class Callers:
    """The event loops that call a layer.

    Args:
        lives_here: Tells whether the running loop has connections of its own already.
    """

    def __init__(self, lives_here: Callable[[], bool]) -> None:
        self._lives_here = lives_here
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

    async def _run(self, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
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
            return await _courier.get().run(make)
        finally:
            caller.under_way -= 1

    async def close(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `close` in the running loop, and in the courier's if there is one."""
        await close()
        courier = _courier.get()
        if courier.is_running:
            await courier.run(close)

    def _lasts(self, caller: _Caller) -> bool:
        # Not while calls are under way on the courier's connection: a later one on another
        # connection might overtake them.
        if not caller.under_way:
            caller.lasts = caller.calls >= SHORT_LIVED_CALLS or self._lives_here()
        return caller.lasts
