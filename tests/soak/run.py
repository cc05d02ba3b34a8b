"""One soak, from the start of its servers to the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soak.checker import Violation, check, counts
from soak.deployments import deployment
from soak.fleet import Fleet
from soak.history import read
from soak.journal import Journal
from soak.layers import EXPIRY, KINDS, is_foreign
from soak.nemesis import Nemesis
from soak.sabotage import ODDS
from soak.verdicts import grown
from support.processes import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from soak.deployments import Deployment
    from soak.history import History
    from soak.plan import Plan
    from soak.verdicts import Reading

PROCESSES = 3
# Seconds until the people of a killed process have left, and some for the machine.
PEOPLE_LEAVE = 90.0
SETTLED = 3.0  # seconds between two looks at figures that have to come back


@dataclass(frozen=True)
class Choices:
    """The parameters of a soak.

    Attributes:
        layer: One of `layers.CLASSES`.
        deployment: One of `deployments.NAMES`.
        seed: Decides what is otherwise left to chance.
        plan: How long.
        nemesis: The faults to cause; none: all that there are.
        sabotage: One of `sabotage.KINDS`, or nothing.
        odds: How likely it is for each message.
        load: Attributes of `load.Load`.
        python: The interpreter of the processes; None: this one.
        recovery: Whether there are groups with a history, and browsers that come back.
    """

    layer: str
    deployment: str
    seed: int
    plan: Plan
    nemesis: Sequence[str] = ()
    sabotage: str = ""
    odds: float = ODDS
    load: dict[str, float] = field(default_factory=dict)
    python: Path | None = None
    recovery: bool = False


@dataclass
class Result:
    """The result of a soak."""

    choices: Choices
    encrypted: bool
    durable: bool
    history: History
    faults: dict[str, int]
    violations: list[Violation]

    def summary(self) -> dict[str, Any]:
        """Return its figures, as JSON has them."""
        outcomes = Counter(send.outcome for send in self.history.sends)
        return {
            "layer": self.choices.layer,
            "deployment": self.choices.deployment,
            "seed": self.choices.seed,
            "encrypted": self.encrypted,
            "durable": self.durable,
            **({"sabotage": self.choices.sabotage} if self.choices.sabotage else {}),
            **({"recovery": self._recoveries()} if self.choices.recovery else {}),
            "sent": len(self.history.sends),
            "outcomes": dict(outcomes),
            "received": len(self.history.receipts),
            "faults": self.faults,
            "violations": counts(self.violations),
        }

    def _recoveries(self) -> dict[str, int]:
        """Return how often browsers came back, and what they were told and shown."""
        events = self.history.browsers
        resumed = Counter(event.recovered for event in events if event.kind == "connected")
        names = {event.browser for event in events}
        return {
            "recovered": resumed[True],
            "not recovered": resumed[False],
            "shown": sum(receipt.channel in names for receipt in self.history.receipts),
            "told": sum(event.kind == "told" for event in events),
        }


async def soak(choices: Choices, folder: Path) -> Result:
    """Run a soak, whose processes write their journals into a folder."""
    chance = random.Random(choices.seed)
    encrypted, durable = chance.random() < 0.4, chance.random() < 0.5
    violations: list[Violation] = []
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(deployment(choices.deployment, durable=durable))
        fleet = Fleet(
            PROCESSES,
            folder,
            servers.hosts_for,
            choices.python,
            layer=choices.layer,
            seed=choices.seed,
            encrypted=encrypted,
            sabotage=choices.sabotage,
            odds=choices.odds,
            load=choices.load,
            recovery=choices.recovery,
        )
        stack.push_async_callback(fleet.close)
        journal = Journal(folder / "driver.jsonl", "driver")
        stack.callback(journal.close)
        kind = KINDS[choices.layer]
        note = journal.note("run", "begun", layer=kind, hosts=servers.hosts, expiry=EXPIRY)
        nemesis = Nemesis(servers, fleet, journal, chance, choices.nemesis)
        stack.push_async_callback(nemesis.close)
        run = _Run(choices, servers, fleet, note, nemesis)
        await run.go()
        violations += run.violations
        faults = dict(nemesis.done)
    history = await asyncio.to_thread(read, folder)
    violations += await asyncio.to_thread(check, history)
    return Result(choices, encrypted, durable, history, faults, violations)


class _Run:
    """The phases of a soak."""

    def __init__(
        self,
        choices: Choices,
        servers: Deployment,
        fleet: Fleet,
        note: Callable[..., None],
        nemesis: Nemesis,
    ) -> None:
        self._plan = choices.plan
        self._servers = servers
        self._fleet = fleet
        self._note = note
        self._nemesis = nemesis
        self._compares = choices.plan.settle > 0 and not is_foreign(choices.layer)
        self.violations: list[Violation] = []

    async def go(self) -> None:
        """Go through all phases."""
        plan, fleet = self._plan, self._fleet
        await fleet.start_all()
        ticking = asyncio.create_task(fleet.tick_always())
        try:
            await fleet.set_active(active=True)
            await self._sleep(plan.warm_up, ticking)
            before = None
            if self._compares:
                await fleet.set_active(active=False)
                await self._sleep(plan.drain, ticking)
                before = await self._figures()
                await fleet.set_active(active=True)
            breaking = asyncio.create_task(self._nemesis.run(plan.faults))
            await asyncio.wait([breaking, ticking], return_when=asyncio.FIRST_COMPLETED)
            if not breaking.done():
                ticking.result()
            await breaking
            self._note("healed")
            await self._sleep(plan.flow, ticking)
            self._note("stopped")
            await fleet.set_active(active=False)
            await self._sleep(plan.drain, ticking)
            self._note("ended")
            if before is not None:
                await self._compare(before)
                await self._compare_people()
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
        try:
            await fleet.finish()
        except WorkerError as error:
            self.violations.append(Violation("processes end", time.monotonic(), str(error)[:500]))
        await asyncio.to_thread(self._check_keys)

    async def _sleep(self, seconds: float, ticking: asyncio.Task[None]) -> None:
        """Let time pass; raise if a process has failed meanwhile."""
        await asyncio.wait([ticking], timeout=seconds)
        if ticking.done():
            ticking.result()

    async def _figures(self) -> Reading:
        """Return the figures of the process that lives for the whole run."""
        figures = (await self._fleet.call(0, figures=True))["figures"]
        connections = await asyncio.to_thread(self._servers.connections)
        return {**figures, "connections": connections[self._fleet.name(0)]}

    async def _compare(self, before: Reading) -> None:
        """Wait until the figures are what they were, for as long as that may take."""
        until = time.monotonic() + self._plan.settle
        while True:
            after = await self._figures()
            leaks = grown(before, after)
            if not leaks or time.monotonic() > until:
                break
            await asyncio.sleep(SETTLED)
        self.violations += [
            Violation(
                "nothing grows",
                time.monotonic(),
                f"{name}: {before[name]} before, {after[name]} after",
            )
            for name in leaks
        ]

    async def _compare_people(self) -> None:
        """Wait until each process lists all consumers that presence tracks, and no others."""
        until = time.monotonic() + PEOPLE_LEAVE
        while True:
            told = [await self._fleet.call(n, people=True) for n in range(self._fleet.size)]
            tracked = {channel for each in told for channel in each["people"]}
            wrong = [tracked.symmetric_difference(each["listed"]) for each in told]
            if not any(wrong) or time.monotonic() > until:
                break
            await asyncio.sleep(SETTLED)
        self.violations += [
            Violation("presence lists who is there", time.monotonic(), f"{sorted(one)[:5]}")
            for one in wrong
            if one
        ]

    def _check_keys(self) -> None:
        """Find keys without an expiry."""
        for server in self._servers.masters:
            with server.client() as client:
                stay = [key for key in client.scan_iter() if client.pttl(key) == -1]
            self.violations += [
                Violation("every key expires", time.monotonic(), repr(key)) for key in stay
            ]


@contextlib.contextmanager
def folder_for(keep: Path | None) -> Any:
    """Yield a folder for journals: the one to keep, or one that is removed."""
    folder = keep or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder)
