"""Python programs that run to their end, each in a process of its own.

Starting Python and importing Django, Channels and redis-py takes a second of a core; a fork of a
process that has done so takes a hundredth. `run_new` starts an interpreter, for programs that are
about imports.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedded_server import dies_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER = Path(__file__).parent / "fork_server.py"
TIMEOUT = 50.0  # seconds; generous, since machines that run tests are busy


@dataclass(frozen=True)
class Done:
    """The output of a program, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The output, with one blank for all that a table puts between words."""
        return " ".join(self.out.split())


class ForkServer:
    """A process that forks one for each program; started for the first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()

    def run(self, *command: str, cwd: Path | None, environ: Mapping[str, str]) -> Done:
        """Run a program, and return when it has ended."""
        with self._one_at_a_time, tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            request = {
                "command": command,
                "cwd": str(cwd or Path.cwd()),
                "environ": dict(environ),
                "out": str(out),
                "err": str(err),
            }
            process = self._process or self._start()
            try:
                status = self._status(process, json.dumps(request))
            except BaseException:
                # A test that has taken too long, perhaps: the reply would be taken for another's.
                process.kill()
                self._stop(process)
                self._process = None
                raise
            return Done(status, out.read_text(), err.read_text())

    def _status(self, process: subprocess.Popen[str], request: str) -> int:
        """Return the exit status of what is requested."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{request}\n")
        process.stdin.flush()
        pid = int(process.stdout.readline())
        too_late = threading.Timer(TIMEOUT, os.kill, (pid, signal.SIGKILL))
        too_late.start()
        try:
            return int(process.stdout.readline())
        finally:
            too_late.cancel()

    def _start(self) -> subprocess.Popen[str]:
        self._process = process = subprocess.Popen(
            [sys.executable, "-W", "error", str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls prctl.
        )
        atexit.register(self._stop, process)
        return process

    def _stop(self, process: subprocess.Popen[str]) -> None:
        process.communicate()


FORK_SERVER = ForkServer()


def environment(**more: str) -> dict[str, str]:
    """Return environment variables with which a program finds the modules of the tests."""
    inherited = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


def run(*command: str, cwd: Path | None = None, **environ: str) -> Done:
    """Run a program with warnings as errors, as `python` with these arguments does.

    Args:
        command: The file of a program, ``-m`` and a module, or ``-c`` and code, with arguments.
        cwd: Where it runs.
        environ: Environment variables.
    """
    if not hasattr(os, "fork"):
        return run_new(*command, cwd=cwd, **environ)
    return FORK_SERVER.run(*command, cwd=cwd, environ=environment(**environ))


def run_new(*command: str, cwd: Path | None = None, **environ: str) -> Done:
    """Run a program, as `run` does, in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
