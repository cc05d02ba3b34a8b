"""The whole measurement: each cell of a plan on each contender, in turn, for some rounds."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.interpreters import NotInstalled, python_of, versions_of
from benchmarks.survey.results import Results, Row
from benchmarks.survey.running import Failed, run
from benchmarks.survey.services import Absent, service
from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.survey.contenders import Contender
    from benchmarks.survey.plan import Cell
    from benchmarks.survey.services import Service

TIMEOUT = 40.0  # seconds for one round of a work on a contender
# What grows with the consumers there are tells nothing of other work.
OF_CONSUMERS = {"client_memory", "server_memory"}


class Survey:
    """Measures contenders beside each other.

    Args:
        contenders: The names of those to measure.
        rounds: How often each does each work.
    """

    def __init__(self, contenders: Sequence[str], rounds: int) -> None:
        self._contenders = [CONTENDERS[name] for name in contenders]
        self._rounds = rounds
        self._pythons: dict[str, Path] = {}
        self._services: dict[Any, Service] = {}
        self._stack = contextlib.ExitStack()

    def measure(self, cells: Sequence[Cell]) -> Results:
        """Do each work with each contender, round after round, and return all figures."""
        began = time.monotonic()
        results = Results(conditions())
        results.conditions["rounds"] = self._rounds
        with self._stack, _progress() as progress:
            self._install(results, progress)
            there = [one for one in self._contenders if one.name in self._pythons]
            pairs = [(cell, one) for cell in cells for one in there if cell.runs(one)]
            results.rows += [Row(cell.work, cell.parameters, one.name) for cell, one in pairs]
            task = progress.add_task("", total=len(pairs) * self._rounds)
            for _ in range(self._rounds):
                for row, (cell, one) in zip(list(results.rows), pairs, strict=True):
                    progress.update(task, description=f"{cell.work} {one.name}")
                    self._one_round(results, row, cell, one)
                    progress.advance(task)
        results.conditions["minutes"] = round((time.monotonic() - began) / 60, 1)
        return results

    def _install(self, results: Results, progress: Progress) -> None:
        """Make each contender's environment and see that its servers start."""
        task = progress.add_task("", total=len(self._contenders))
        for one in self._contenders:
            progress.update(task, description=f"install {one.name}")
            try:
                python = python_of(one)
                self._service(one)
            except (NotInstalled, Absent) as error:
                results.absent[one.name] = str(error)
            else:
                self._pythons[one.name] = python
                results.versions[one.name] = versions_of(one, python)
            progress.advance(task)

    def _one_round(self, results: Results, row: Row, cell: Cell, one: Contender) -> None:
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
            figures = run(job, self._pythons[one.name], behind, timeout=TIMEOUT)
        except Failed as failure:
            row.figures.clear()
            results.rows[results.rows.index(row)] = Row(
                row.work, row.parameters, row.contender, note=str(failure)
            )
            return
        for metric, figure in figures.items():
            if metric not in OF_CONSUMERS or cell.work == "idle":
                row.figures.setdefault(metric, []).append(figure)

    def _service(self, one: Contender, *, shards: int = 1, cluster: bool = False) -> Service:
        """Return the running servers of this kind."""
        kind = (one.server, shards, cluster)
        if kind not in self._services:
            started = service(one, shards=shards, cluster=cluster)
            self._services[kind] = self._stack.enter_context(started)
        return self._services[kind]


def conditions() -> dict[str, Any]:
    """Return what this machine is, and how busy it is now."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = {line.partition(":")[2].strip() for line in cpus if line.startswith("model name")}
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": ", ".join(sorted(models)) or platform.machine(),
        "cpus": os.cpu_count(),
        "memory": f"{pages / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "started": time.strftime("%Y-%m-%d %H:%M %Z"),
        "load": round(os.getloadavg()[0], 2),
    }


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
