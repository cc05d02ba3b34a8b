"""The workers of one layer, as the driver sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.soak.host import NAMED
from benchmarks.soak.plan import WORKERS
from support.processes import WorkerError, WorkerProcess

if TYPE_CHECKING:
    from benchmarks.soak.host import Host
    from benchmarks.soak.ledger import Ledger

SCRIPT = Path(__file__).parent / "worker.py"


class Fleet:
    """Worker processes on one server. The first lives for the whole run, to be compared.

    Args:
        layer: Which layer they use.
        host: Their server.
        ledger: Gets what they have sent and received.
    """

    def __init__(self, layer: str, host: Host, ledger: Ledger) -> None:
        self._layer = layer
        self._host = host
        self._ledger = ledger
        self._workers: dict[int, WorkerProcess] = {}
        self._locks = [asyncio.Lock() for _ in range(WORKERS)]
        self._active = False
        self._started = 0
        # Calls that the server's absence has failed, in all workers that live.
        self.refused: dict[int, int] = {}

    async def start(self, index: int) -> None:
        """Start a worker, and return when all that lives in it is there."""
        self._started += 1
        worker = await WorkerProcess.start(
            SCRIPT,
            layer=self._layer,
            url=self._host.url,
            client_name=f"{NAMED}{index}",
            # Another one each time: a worker numbers its messages from 0.
            author=f"{self._layer}{index}.{self._started}",
        )
        try:
            async with self._locks[index]:
                self._workers[index] = worker
                await worker.read(timeout=120)
        except BaseException:
            await worker.close()
            raise
        if self._active:
            await self.call(index, active=True)

    async def start_all(self) -> None:
        """Start all of them."""
        await asyncio.gather(*map(self.start, range(WORKERS)))

    async def replace(self, index: int) -> None:
        """Kill a worker, as a crash does, and start another in its place."""
        await self.kill(index)
        await self.start(index)

    async def kill(self, index: int) -> None:
        """Kill a worker. What it has not reported is never known."""
        worker = self._workers.pop(index, None)
        if worker is not None:
            await worker.close()

    async def call(self, index: int, **request: Any) -> dict[str, int] | None:
        """Return a worker's figures, None if it is just being replaced."""
        async with self._locks[index]:
            worker = self._workers.get(index)
            if worker is None:
                return None
            try:
                found = await worker.call(**request)
            except WorkerError:
                if self._workers.get(index) is worker:
                    raise  # it died without being killed
                return None
        self._ledger.note(found["sent"], found["received"])
        self.refused[index] = found["refused"]
        figures: dict[str, int] = found["figures"]
        return figures

    async def set_active(self, *, active: bool) -> None:
        """Let consumers come and go in all workers, or come to rest."""
        self._active = active
        await asyncio.gather(*(self.call(index, active=active) for index in range(WORKERS)))

    async def sample(self, *, tidy: bool = False) -> list[dict[str, int]]:
        """Return the figures of each worker that runs; those of its connections are the server's.

        Args:
            tidy: As for `figures.figures`.
        """
        found = await asyncio.gather(*(self.call(index, tidy=tidy) for index in range(WORKERS)))
        connections = self._host.connections()
        return [
            {"worker": index, **figures, "connections": connections[f"{NAMED}{index}"]}
            for index, figures in enumerate(found)
            if figures is not None
        ]

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*map(self.kill, range(WORKERS)))
