"""The server's side of `support.programs`: forks a process for each program that a test runs.

It has imported what most programs use, but none of the modules of our own commands.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import types
import warnings
from pathlib import Path
from typing import Any

from embedded_server import dies_with_parent

LONGEST_REQUEST = 2**20  # bytes
PID_LENGTH = 10  # digits and blanks

PRELOADED = (
    "asyncio",
    "channels.layers",
    "channels_redis_pubsub",
    "channels_redis_queue",
    "cryptography.fernet",
    "django.core.management",
)


# Where the exit status of each running program is to be written.
STATUSES: dict[int, int] = {}


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request, and tell of the child and of its end; return the request in it.

    With a request come the child's first three descriptors, and the one for its id and its status.
    """
    signal.signal(signal.SIGCHLD, reap)
    dies_with_server = dies_with_parent()
    while True:
        line, descriptors, *_ = socket.recv_fds(requests, LONGEST_REQUEST, 4)
        if not line:
            sys.exit()
        while not line.endswith(b"\n"):
            line += requests.recv(LONGEST_REQUEST)
        *own, status = descriptors
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            for opened in (status, *STATUSES.values()):
                os.close(opened)
            for number, opened in enumerate(own):
                os.dup2(opened, number)
                os.close(opened)
            if dies_with_server:
                dies_with_server()
        else:
            for opened in own:
                os.close(opened)
            STATUSES[pid] = status
            os.write(status, b"%*d" % (PID_LENGTH, pid))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        if not pid:
            request: dict[str, Any] = json.loads(line)
            return request


def reap(*_: object) -> None:
    """Tell of the children that have ended."""
    while STATUSES:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        told = STATUSES.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(told)


def execute(first: str, *arguments: str) -> None:
    """Do what the interpreter does with these arguments."""
    if first == "-m":
        sys.argv[:] = arguments
        sys.path[0] = str(Path.cwd())
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if first == "-c":
        sys.argv[:] = ["-c", *arguments[1:]]
        sys.path[0] = ""
        code = compile(arguments[0], "<string>", "exec")
    else:
        sys.argv[:] = [first, *arguments]
        sys.path[0] = str(Path(first).resolve().parent)
        main.__file__ = first
        code = compile(Path(first).read_bytes(), first, "exec", dont_inherit=True)
    exec(code, vars(main))  # noqa: S102 - as the interpreter does.


if __name__ == "__main__":
    for name in PRELOADED:
        # Not all are installed everywhere.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        request = serve(requests)
    os.setsid()
    warnings.simplefilter(request["warnings"])
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    execute(*request["command"])
