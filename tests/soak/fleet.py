"""The worker processes of a soak, as the driver sees them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.processes import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).parent / "worker.py"
TICK = 0.5  # seconds between two rounds in which processes hear of each other's channels
NAMED = "soak-"  # begins the names of processes, which their connections have, too


@dataclass
class Fleet:
    """Worker processes, of which some are stopped, or killed and replaced.

    Attributes:
        size: How many there are at any time.
        folder: Gets their journals.
        hosts: Returns the option `hosts` for the process of a name.
        python: Another interpreter than this one.
        settings: Further arguments of each process.
        names: The names of the processes, by their indexes.
        stopped: The indexes of those that do not run just now.
    """

    size: int
    folder: Path
    hosts: Callable[[str], list[Any]]
    python: Path | None
    settings: dict[str, Any]
    names: dict[int, str] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)
    _workers: dict[int, WorkerProcess] = field(default_factory=dict)
    # Held while a process answers, so that none is stopped or killed meanwhile.
    _locks: dict[int, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _channels: dict[int, list[str]] = field(default_factory=dict)
    _started: int = 0
    _active: bool = False

    async def start(self, index: int) -> None:
        """Start a process, and return when all that lives in it has begun."""
        self._started += 1
        name = f"{NAMED}{index}.{self._started}"
        worker = await WorkerProcess.start(
            SCRIPT,
            python=self.python,
            journal=str(self.folder / f"{name}.jsonl"),
            by=name,
            number=self._started,
            hosts=self.hosts(name),
            **self.settings,
        )
        try:
            await worker.read(timeout=60)
            await worker.call(active=self._active)
        except BaseException:
            await worker.close()
            raise
        self._workers[index], self.names[index] = worker, name

    async def start_all(self) -> None:
        """Start all of them."""
        await asyncio.gather(*map(self.start, range(self.size)))

    async def kill(self, index: int) -> None:
        """Kill a process, as a crash does."""
        async with self._locks[index]:
            self._channels.pop(index, None)
            await self._workers.pop(index).close()

    async def stop(self, index: int, seconds: float) -> None:
        """Stop a process for a while."""
        self.stopped.add(index)
        async with self._locks[index]:
            pid = self._workers[index].pid
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)
                self.stopped.discard(index)

    async def tick_always(self) -> None:
        """Tell the processes of each other's channels, again and again."""
        while True:
            await asyncio.gather(*map(self._tick, range(self.size)))
            await asyncio.sleep(TICK)

    async def _tick(self, index: int) -> None:
        if self._locks[index].locked() or index not in self._workers:
            return
        known = [name for names in list(self._channels.values()) for name in names]
        await self.call(index, known=known)

    async def call(self, index: int, **request: Any) -> dict[str, Any]:
        """Return what a process answers."""
        async with self._locks[index]:
            answer = await self._workers[index].call(**request)
        self._channels[index] = answer["channels"]
        return answer

    async def set_active(self, *, active: bool) -> None:
        """Begin with the load in all processes, or end it."""
        self._active = active
        await asyncio.gather(*(self.call(index, active=active) for index in range(self.size)))

    async def finish(self) -> None:
        """Let all processes close their consumers and connections, and end."""
        await asyncio.gather(*(self.call(index, close=True) for index in range(self.size)))
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))

    async def close(self) -> None:
        """End all of them, in whatever state they are."""
        for worker in self._workers.values():
            if worker.exit_status is None:
                os.kill(worker.pid, signal.SIGCONT)
            await worker.close()
