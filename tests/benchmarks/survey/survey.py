"""The whole measurement: each contender in turn, for some rounds."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet

from benchmarks.conditions import conditions
from benchmarks.survey.contenders import CONTENDERS, SITE
from benchmarks.survey.results import Results, Row
from benchmarks.survey.running import Failed, run
from benchmarks.survey.services import Absent, service
from benchmarks.survey.trial import Job
from support.installing import FOLDER, environment, uv, versions_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from benchmarks.survey.contenders import Contender
    from benchmarks.survey.plan import Cell
    from benchmarks.survey.services import Service

TIMEOUT = 40.0  # seconds for one round of a work on a contender
SOCKETS_TIMEOUT = 300.0  # seconds; opening 10,000 sockets takes most of them
# What grows with the consumers there are says nothing about other work.
OF_CONSUMERS = {"client_memory", "server_memory"}


class Survey:
    """Measures contenders in turn. Use it in a `with`.

    What it finds is added to `results`.

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
        self._began = time.monotonic()

    def __enter__(self) -> Self:
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
        for number in range(self._rounds):
            for row, (cell, one) in zip(results.rows, pairs, strict=True):
                self._say(f"round {number + 1} of {self._rounds}: {cell.work} {one.name}")
                self._one_round(row, cell, one)

    def _install(self) -> None:
        """Make each contender's environment and see that its servers start."""
        servers: list[str] = []
        for one in self._contenders:
            self._say(f"install {one.name}")
            try:
                versions = install_packages() if one.on_node else {}
                wanted = uv("python", "find", one.python).strip() if one.python else sys.executable
                requirements = (*one.requirements, *SITE)
                python = environment(f"bench/{one.name}", requirements, wanted=wanted)
                servers.append(self._service(one).software)
            except subprocess.CalledProcessError as error:
                self.results.absent[one.name] = str(error.stderr).strip()
            except Absent as error:
                self.results.absent[one.name] = str(error)
            else:
                self._pythons[one.name] = python
                versions = {**versions_in(python), **versions}
                matter = {name: versions[name] for name in one.version_of if name in versions}
                self.results.versions[one.name] = matter
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

    def _say(self, what: str) -> None:
        """Show what is done now."""
        sys.stderr.write(f"{(time.monotonic() - self._began) / 60:5.1f} min  {what}\n")

    def _service(self, one: Contender, *, shards: int = 1, cluster: bool = False) -> Service:
        """Return the running servers of this kind."""
        kind = (one.server, shards, cluster)
        if kind not in self._services:
            started = service(one, shards=shards, cluster=cluster)
            self._services[kind] = self._stack.enter_context(started)
        return self._services[kind]


def install_packages() -> dict[str, str]:
    """Install what the programs of Node.js use; return the versions of it and of Node.js.

    Raises:
        Absent: There is no Node.js or npm on PATH.
        subprocess.CalledProcessError: npm failed; what it wrote to stderr is in the error.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise Absent(f"there is no {program} on PATH (apt install nodejs npm)")
    folder = FOLDER / "bench/node"
    folder.mkdir(parents=True, exist_ok=True)
    listed = Path(__file__).with_name("package.json").read_text(encoding="utf-8")
    (folder / "package.json").write_text(listed, encoding="utf-8")

    def run_there(*command: str) -> str:
        return subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    run_there("npm", "install", "--no-audit", "--no-fund")
    return {"node": run_there("node", "--version"), **json.loads(listed)["dependencies"]}
