"""The server's side of `support.programs`: forks a process for each program that a test runs.

It has imported what most programs use, but none of the modules of our own commands.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
import types
from pathlib import Path
from typing import Any

PRELOADED = (
    "asyncio",
    "channels.layers",
    "channels_redis_pubsub",
    "channels_redis_queue",
    "click",
    "cryptography.fernet",
    "django.core.management",
    "rich.live",
    "rich.table",
)


def serve() -> dict[str, Any]:
    """Fork for each request from stdin, and reply; return the request in the child."""
    # Where programs write, is another's.
    replies = os.dup(1)
    with os.fdopen(os.dup(0), "rb") as requests:
        for line in requests:
            request: dict[str, Any] = json.loads(line)
            pid = os.fork()
            if not pid:
                os.close(replies)
                return request
            os.write(replies, b"%d\n" % pid)
            _, status = os.waitpid(pid, 0)
            os.write(replies, b"%d\n" % os.waitstatus_to_exitcode(status))
    sys.exit()


def enter(request: dict[str, Any]) -> None:
    """Make this process what the request says."""
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["out"], writing),
        (2, request["err"], writing),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])


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
        importlib.import_module(name)
    gc.freeze()
    request = serve()
    enter(request)
    execute(*request["command"])
