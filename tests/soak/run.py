"""One soak, from the start of its servers to the verdict."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from soak.checker import RECOVERY, Violation, check, counts
from soak.deployments import deployment
from soak.figures import grown
from soak.fleet import Fleet
from soak.history import read
from soak.journal import Journal
from soak.layers import EXPIRY, is_foreign, kind_of
from soak.nemesis import Nemesis
from soak.sabotage import ODDS
from support.messages import cancel
from support.processes import WorkerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from soak.deployments import Deployment
    from soak.history import History

PROCESSES = 3
# Seconds until the people of a killed process have left, and some for the machine.
PEOPLE_LEAVE = 90.0
SETTLED = 3.0  # seconds between two looks at figures that have to come back


@dataclass(frozen=True)
class Plan:
    """The seconds of each phase.

    Attributes:
        warm_up: There is load, and no fault.
        faults: There are both.
        flow: There is load and no fault. After the first ten of them, everything has to flow.
        drain: There is no load, and what was sent arrives.
        settle: The most until the figures are what they were before the faults; 0: not compared.
    """

    warm_up: float
    faults: float
    flow: float
    drain: float = 6.0
    settle: float = 0.0

    @classmethod
    def of(cls, minutes: float) -> Plan:
        """Return what to do in so many minutes."""
        seconds = minutes * 60
        warm_up, flow = min(15.0, seconds / 10), RECOVERY + min(10.0, seconds / 10)
        # With some left for the start, and for figures that take a while.
        settle = 45.0 if minutes >= 2 else 0.0
        used = warm_up + flow + 2 * cls.drain + settle / 2
        return cls(warm_up, max(1.0, seconds - used), flow, settle=settle)


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
        recovery: Whether there are groups with a history, and browsers that come back.
    """

    layer: str
    deployment: str
    seed: int
    plan: Plan
    nemesis: Sequence[str] = ()
    sabotage: str = ""
    odds: float = ODDS
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
        """Count how often browsers came back, their notices of gaps, and what they were shown."""
        events = self.history.browsers
        resumed = Counter(event.recovered for event in events if event.kind == "connected")
        names = {event.browser for event in events}
        return {
            "recovered": resumed[True],
            "not recovered": resumed[False],
            "shown": sum(receipt.channel in names for receipt in self.history.receipts),
            "told": sum(event.kind == "told" for event in events),
        }


async def soak(choices: Choices, folder: Path, python: Path | None = None) -> Result:
    """Run a soak.

    Args:
        choices: Its parameters.
        folder: Gets the journals of its processes.
        python: The interpreter of the processes; None: this one.
    """
    chance = random.Random(choices.seed)
    encrypted, durable = chance.random() < 0.4, chance.random() < 0.5
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(deployment(choices.deployment, durable=durable))
        settings = {**asdict(choices), "encrypted": encrypted}
        fleet = Fleet(PROCESSES, folder, servers.hosts_for, python, settings)
        stack.push_async_callback(fleet.close)
        journal = Journal(folder / "driver.jsonl", "driver")
        stack.callback(journal.close)
        nemesis = Nemesis(servers, fleet, journal, chance, choices.nemesis)
        stack.push_async_callback(nemesis.close)
        run = _Run(choices, servers, fleet, journal, nemesis)
        await run.go()
    history = await asyncio.to_thread(read, folder)
    violations = run.violations + await asyncio.to_thread(check, history)
    return Result(choices, encrypted, durable, history, dict(nemesis.done), violations)


@dataclass
class _Run:
    """The phases of a soak."""

    choices: Choices
    servers: Deployment
    fleet: Fleet
    journal: Journal
    nemesis: Nemesis
    violations: list[Violation] = field(default_factory=list)

    async def go(self) -> None:
        """Go through all phases; raise if a process has failed meanwhile."""
        await self.fleet.start_all()
        coroutines = (self.fleet.tick_always(), self._phases())
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            await cancel(*tasks)
        try:
            await self.fleet.finish()
        except WorkerError as error:
            self._add("processes end", str(error)[:500])
        for key in await asyncio.to_thread(self._lasting_keys):
            self._add("every key expires", repr(key))

    async def _phases(self) -> None:
        plan, fleet, layer = self.choices.plan, self.fleet, self.choices.layer
        note = self.journal.note(
            "run", "begun", layer=kind_of(layer), hosts=self.servers.hosts, expiry=EXPIRY
        )
        compares = plan.settle > 0 and not is_foreign(layer)
        await fleet.set_active(active=True)
        await asyncio.sleep(plan.warm_up)
        before = {}
        if compares:
            await fleet.set_active(active=False)
            await asyncio.sleep(plan.drain)
            before = await self._figures()
            await fleet.set_active(active=True)
        await self.nemesis.run(plan.faults)
        note("healed")
        await asyncio.sleep(plan.flow)
        note("stopped")
        await fleet.set_active(active=False)
        await asyncio.sleep(plan.drain)
        note("ended")
        if not compares:
            return

        async def leaks() -> list[str]:
            return grown(before, await self._figures())

        await self._settle("nothing grows", leaks, plan.settle)
        await self._settle("presence lists who is there", self._wrong_lists, PEOPLE_LEAVE)

    async def _settle(
        self, promise: str, look: Callable[[], Awaitable[list[str]]], seconds: float
    ) -> None:
        """Look until nothing is wrong any more; after some time, what still is breaks a promise."""
        until = time.monotonic() + seconds
        while (wrong := await look()) and time.monotonic() < until:
            await asyncio.sleep(SETTLED)
        for what in wrong:
            self._add(promise, what)

    def _add(self, promise: str, what: str) -> None:
        self.violations.append(Violation(promise, time.monotonic(), what))

    async def _figures(self) -> dict[str, int]:
        """Return the figures of the process that lives for the whole run."""
        figures = (await self.fleet.call(0, figures=True))["figures"]
        connections = await asyncio.to_thread(self.servers.connections)
        return {**figures, "connections": connections[self.fleet.names[0]]}

    async def _wrong_lists(self) -> list[str]:
        """Compare the consumers that presence tracks with those that each process lists."""
        answers = [await self.fleet.call(n, people=True) for n in range(self.fleet.size)]
        tracked = {channel for each in answers for channel in each["people"]}
        wrong = [sorted(tracked.symmetric_difference(each["listed"])) for each in answers]
        return [str(channels[:5]) for channels in wrong if channels]

    def _lasting_keys(self) -> list[bytes]:
        """Return the keys without an expiry."""
        lasting: list[bytes] = []
        for server in self.servers.masters:
            with server.client() as client:
                lasting += [key for key in client.scan_iter() if client.pttl(key) == -1]
        return lasting
