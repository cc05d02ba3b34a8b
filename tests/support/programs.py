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
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedded_server import dies_with_parent
from support.fork_server import PID_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

DEVNULL = Path(os.devnull)
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


@dataclass(frozen=True)
class Forked:
    """A process that runs a program.

    Attributes:
        pid: Its id.
        status: Yields the exit status, as a line, when it has ended; negative after a signal.
    """

    pid: int
    status: socket.socket


class ForkServer:
    """A process that forks one for each program; started for the first."""

    def __init__(self) -> None:
        self._requests: socket.socket | None = None
        self._one_at_a_time = threading.Lock()

    def fork(
        self,
        *command: str,
        files: Sequence[int],
        cwd: Path | None = None,
        warnings: str = "error",
        **environ: str,
    ) -> Forked:
        """Start a program; see `run`.

        Args:
            command: The file of a program, ``-m`` and a module, or ``-c`` and code, with arguments.
            files: Its first three descriptors.
            cwd: Where it runs.
            warnings: Python's action for warnings.
            environ: Environment variables.
        """
        status, its_status = socket.socketpair()
        request = {
            "command": command,
            "cwd": str(cwd or Path.cwd()),
            "environ": environment(**environ),
            "warnings": warnings,
        }
        with self._one_at_a_time, its_status:
            requests = self._requests or self._start()
            line = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(requests, [line], [*files, its_status.fileno()])
            requests.sendall(line[sent:])
        # Without `its_status` here, this ends if the server has failed.
        pid = status.recv(PID_LENGTH, socket.MSG_WAITALL)
        if not pid:
            raise RuntimeError("the server of forks has ended; stderr says why")
        return Forked(int(pid), status)

    def _start(self) -> socket.socket:
        self._requests, its_requests = socket.socketpair()
        with its_requests:
            number = its_requests.fileno()
            process = subprocess.Popen(
                [sys.executable, "-W", "error", str(SERVER), str(number)],
                pass_fds=[number],
                env=environment(),
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls prctl.
            )
        atexit.register(self._stop, process, self._requests)
        return self._requests

    def _stop(self, process: subprocess.Popen[bytes], requests: socket.socket) -> None:
        requests.close()
        process.wait()


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
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, DEVNULL.open() as empty:
        files = [file.fileno() for file in (empty, out, err)]
        forked = FORK_SERVER.fork(*command, files=files, cwd=cwd, **environ)
        with forked.status as status:
            try:
                status.settimeout(TIMEOUT)
                exit_status = int(status.recv(10))
            except BaseException:
                os.kill(forked.pid, signal.SIGKILL)
                raise
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode())
        return Done(exit_status, *printed)


def run_new(
    *command: str, cwd: Path | None = None, timeout: float = TIMEOUT, **environ: str
) -> Done:
    """Run a program, as `run` does, in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
