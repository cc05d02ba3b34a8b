"""The whole measurement, stage by stage: each contender in turn, for some rounds."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.conditions import conditions
from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.growth import grow
from benchmarks.survey.interpreters import NotInstalled, python_of, versions_of
from benchmarks.survey.limit import limits, paths
from benchmarks.survey.results import Results, Row
from benchmarks.survey.running import Failed, run
from benchmarks.survey.services import Absent, RedisService, service
from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from benchmarks.survey.contenders import Contender
    from benchmarks.survey.plan import Cell
    from benchmarks.survey.services import Service

TIMEOUT = 25.0  # seconds for one round of a work on a contender
SOCKETS_TIMEOUT = 300.0  # seconds; opening 10,000 sockets takes most of them
# What grows with the consumers there are tells nothing of other work.
OF_CONSUMERS = {"client_memory", "server_memory"}


class Survey:
    """Measures contenders beside each other, and how ours grow. Use it in a `with`.

    Each stage adds what it found to `results`.

    Args:
        contenders: The names of those to measure.
        rounds: How often each does each work.
    """

    def __init__(self, contenders: Sequence[str], rounds: int) -> None:
        self.results = Results(conditions())
        self.results.conditions["rounds"] = rounds
        self._contenders = [CONTENDERS[name] for name in contenders]
        self._rounds = rounds
        self._pythons: dict[str, Path] = {}
        self._services: dict[Any, Service] = {}
        self._stack = contextlib.ExitStack()
        self._progress = Progress(
            TextColumn("{task.description:40}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._progress)
        try:
            self._install()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.results.conditions.setdefault(
            "minutes", round((time.monotonic() - self._began) / 60, 1)
        )

    def compare(self, cells: Sequence[Cell]) -> None:
        """Do each work with each contender, round after round."""
        results = self.results
        there = [one for one in self._contenders if one.name in self._pythons]
        pairs = [(cell, one) for cell in cells for one in there if cell.runs(one)]
        results.rows += [Row(cell.work, cell.parameters, one.name) for cell, one in pairs]
        with self._stage("comparison", len(pairs) * self._rounds) as tell:
            for _ in range(self._rounds):
                for row, (cell, one) in zip(results.rows, pairs, strict=True):
                    tell(f"{cell.work} {one.name}")
                    self._one_round(row, cell, one)

    def limit(self) -> None:
        """Measure what redis-py alone does with the commands of our layers."""
        for name in self._ours():
            versions = self.results.versions[name].items()
            alone = {what: version for what, version in versions if "redis-" not in what}
            self.results.versions[f"raw-{name}"] = alone
            others = [row for row in self.results.rows if row.contender != f"raw-{name}"]
            self.results.rows = others
            with self._stage(f"raw redis-py, {name}", len(list(paths(name)))) as tell:
                for rows in limits({name: self._pythons[name]}, self._redis(), self._rounds):
                    there = self.results.find(rows[0].work, name, **rows[0].parameters)
                    self.results.rows += rows[1:] if there else rows
                    tell(f"raw redis-py, {name}")

    def grow(self) -> None:
        """Raise the load on those on Redis until something gives."""
        names = [one.name for one in self._contenders if one.server == "redis"]
        there = [name for name in names if name in self._pythons]
        with self._stage("growth") as tell:
            self.results.growth = grow(self._pythons, self._redis(), there, tell)

    def _install(self) -> None:
        """Make each contender's environment and see that its servers start."""
        servers: list[str] = []
        with self._stage("install", len(self._contenders)) as tell:
            for one in self._contenders:
                tell(f"install {one.name}")
                try:
                    python = python_of(one)
                    servers.append(self._service(one).software)
                except (NotInstalled, Absent) as error:
                    self.results.absent[one.name] = str(error)
                else:
                    self._pythons[one.name] = python
                    self.results.versions[one.name] = versions_of(one, python)
        self.results.conditions["servers"] = ", ".join(dict.fromkeys(filter(None, servers)))

    def _one_round(self, row: Row, cell: Cell, one: Contender) -> None:
        """Do a work once, and add its figures to its row."""
        if row.note:
            return  # It failed before, and would take as long again.
        behind = self._service(
            one,
            shards=cell.parameters.get("shards", 1),
            cluster=cell.parameters.get("cluster", False),
        )
        keys = [Fernet.generate_key().decode()]
        options = {"symmetric_encryption_keys": keys} if cell.parameters.get("encrypted") else {}
        job = Job(one.name, behind.hosts, cell.work, cell.parameters, options)
        try:
            timeout = SOCKETS_TIMEOUT if cell.work == "sockets" else TIMEOUT
            figures = run(job, self._pythons[one.name], behind, timeout=timeout)
        except Failed as failure:
            row.figures.clear()
            row.note = str(failure)
            return
        for metric, figure in figures.items():
            if metric not in OF_CONSUMERS or cell.work == "idle":
                row.figures.setdefault(metric, []).append(figure)

    def _ours(self) -> list[str]:
        return [one.name for one in self._contenders if one.ours and one.name in self._pythons]

    def _redis(self) -> RedisService:
        started = self._service(CONTENDERS["queue"])
        if not isinstance(started, RedisService):
            raise TypeError(f"{started} does not run the requested Redis")
        return started

    @contextlib.contextmanager
    def _stage(self, title: str, parts: int | None = None) -> Iterator[Callable[[str], None]]:
        """Show a bar; what is yielded tells which part is done next."""
        task = self._progress.add_task(title, total=parts)
        begun = 0

        def tell(what: str) -> None:
            nonlocal begun
            self._progress.update(task, description=what, completed=begun)
            begun += 1

        yield tell
        self._progress.update(task, description=title, total=parts or begun or 1)
        self._progress.update(task, completed=parts or begun or 1)

    def _service(self, one: Contender, *, shards: int = 1, cluster: bool = False) -> Service:
        """Return the running servers of this kind."""
        kind = (one.server, shards, cluster)
        if kind not in self._services:
            started = service(one, shards=shards, cluster=cluster)
            self._services[kind] = self._stack.enter_context(started)
        return self._services[kind]
