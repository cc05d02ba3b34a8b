"""The soak of one layer, from its server's start to the verdicts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.soak import diary, ledger
from benchmarks.soak.faults import FAULTS, KILLS, Saboteur
from benchmarks.soak.fleet import Fleet
from benchmarks.soak.host import Host
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.plan import RESIDENTS, WORKERS
from benchmarks.soak.verdicts import compare, reading

if TYPE_CHECKING:
    from benchmarks.soak.plan import Plan
    from benchmarks.soak.verdicts import Reading, Verdict
    from embedded_server import EmbeddedServer

INTERVAL = 2.0  # seconds between two samples
# How often the figures are read at the end of a calm, of which the median counts: one may fall into
# the moment in which a membership is renewed.
READINGS, BETWEEN = 3, 0.7


@dataclass
class Soak:
    """One layer's soak, and what it has come to so far."""

    layer: str
    plan: Plan
    phase: str = "start"
    samples: list[dict[str, Any]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        readers = 1 if self.layer == "queue" else WORKERS
        self.ledger = Ledger(
            {diary.RESIDENTS: WORKERS * RESIDENTS, diary.JOBS: readers, diary.ONE: 1}
        )

    async def run(self, server: EmbeddedServer) -> None:
        """Go through the plan."""
        host = Host(server)
        fleet = Fleet(self.layer, host, self.ledger)
        saboteur = Saboteur(host, fleet)
        self._began = diary.now()
        try:
            await fleet.start_all()
            await asyncio.sleep(1)  # until the last reader of the general channel is heard
            self._began = diary.now()
            sampling = asyncio.create_task(self._sample_always(fleet, host))
            try:
                for number in range(self.plan.cycles):
                    await self._cycle(fleet, saboteur, host, number + 1)
                    if sampling.done():
                        sampling.result()
            finally:
                sampling.cancel()
                await asyncio.wait([sampling])
            await fleet.sample()
        finally:
            self.faults = {**saboteur.done, "calls refused": sum(fleet.refused.values())}
            await saboteur.close()
            await fleet.close()

    def verdicts(self) -> list[Verdict]:
        """Return what became of each quantity after the warm-up."""
        return compare(self.readings[self.plan.first], self.readings[-1])

    @property
    def good(self) -> bool:
        """True if nothing grew, was repeated, or was lost against the guarantees."""
        messages = self.ledger.figures()
        promised = ["twice", "lost_in_calm", *(["lost_in_kills"] if self.layer == "queue" else [])]
        flat = all(verdict.flat for verdict in self.verdicts())
        return flat and not any(messages[name] for name in promised)

    async def _cycle(self, fleet: Fleet, saboteur: Saboteur, host: Host, number: int) -> None:
        self.phase = f"load {number}"
        await fleet.set_active(active=True)
        await asyncio.sleep(self.plan.load)
        self.phase = f"kills {number}"
        begin = diary.now()
        await saboteur.rampage(KILLS, self.plan.kills)
        self.ledger.trouble(ledger.KILLS, begin, diary.now())
        self.phase = f"faults {number}"
        begin = diary.now()
        await saboteur.rampage(FAULTS, self.plan.faults)
        self.phase = f"calm {number}"
        await fleet.set_active(active=False)
        rest = self.plan.calm - READINGS * BETWEEN
        await asyncio.sleep(max(1.0, rest))
        # Visits under way had their faults, too.
        self.ledger.trouble(ledger.FAULTS, begin, diary.now())
        self.readings.append(await self._read(fleet, host))

    async def _read(self, fleet: Fleet, host: Host) -> Reading:
        """Return the figures of the worker that lives for the whole run, and its server's."""
        found = []
        for _ in range(READINGS):
            keeper = (await fleet.sample(tidy=True))[0]
            found.append({**keeper, **host.figures()})
            await asyncio.sleep(BETWEEN)
        return reading(found)

    async def _sample_always(self, fleet: Fleet, host: Host) -> None:
        while True:
            when = {"t": round(diary.now() - self._began, 2), "phase": self.phase}
            for figures in await fleet.sample():
                self.samples.append({**when, **figures})
            self.samples.append({**when, "worker": None, **host.figures()})
            await asyncio.sleep(INTERVAL)
