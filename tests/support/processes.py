"""Python scripts as processes of their own, which a test talks to.

A worker script::

    import asyncio
    from support.worker import arguments, async_requests, reply

    async def main() -> None:
        layer = RedisChannelLayer(hosts=[arguments()["url"]])
        reply(ready=True)
        async for request in async_requests():
            if "receive" in request:
                reply(message=await layer.receive(request["receive"]))

    asyncio.run(main())

The test::

    async def test_two_processes(run_process, redis_server):
        worker = await run_process(Path(__file__).parent / "worker.py", url=redis_server.url)
        assert (await worker.read())["ready"]
        answer = await worker.call(receive="jobs")
        await worker.stop()

Each line is one JSON object. What the script writes to stderr is shown when it fails. A worker
without an event loop iterates over ``support.worker.requests()``. The script imports what the
test itself could import; with ``python=`` it runs in another environment, which then needs the
packages it uses.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from embedded_server import dies_with_parent
from support import programs
from support.worker import LONGEST_LINE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

TESTS = Path(__file__).parent.parent
TIMEOUT = 30.0  # seconds; generous, since machines that run tests are busy


class WorkerError(Exception):
    """Raised when a worker ended, failed or did not answer in time."""


class ForkedProcess:
    """A process like those of `asyncio.subprocess`, forked with the imports of most workers."""

    pid: int
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    _ended: asyncio.Task[int]
    _writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]

    @classmethod
    async def start(cls, *command: str, errors: IO[bytes], **options: Any) -> Self:
        """Run a program; see `support.programs`, whose `ForkServer.fork` takes the options."""
        self = cls()
        stdin, its_stdin = socket.socketpair()
        stdout, its_stdout = socket.socketpair()
        with its_stdin, its_stdout:
            files = [opened.fileno() for opened in (its_stdin, its_stdout, errors)]
            options = {"warnings": "default", **options}
            forked = programs.FORK_SERVER.fork(*command, files=files, **options)
        self.pid = forked.pid
        _, self.stdin = await asyncio.open_connection(sock=stdin)
        self.stdout, unused = await asyncio.open_connection(sock=stdout, limit=LONGEST_LINE)
        self._writers = (self.stdin, unused)
        self._ended = asyncio.create_task(self._wait(forked.status))
        return self

    async def _wait(self, status: socket.socket) -> int:
        reader, writer = await asyncio.open_connection(sock=status)
        line = await reader.readline()
        writer.close()
        return int(line)

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs, negative after a signal."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Return the exit status when there is one."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close what a process that has ended leaves open."""
        for writer in self._writers:
            writer.close()


class WorkerProcess:
    """A running worker script. Get one from the fixture ``run_process``."""

    def __init__(
        self, process: asyncio.subprocess.Process | ForkedProcess, script: Path, log: IO[bytes]
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._script = script
        self._log = log

    @classmethod
    async def start(
        cls,
        script: str | Path,
        *,
        python: str | Path | None = None,
        own_session: bool = True,
        **arguments: Any,  # anything that JSON can hold
    ) -> Self:
        """Start ``script``.

        Args:
            script: The path of a Python file.
            python: Another interpreter than the test's own, which then finds only what is
                installed in its environment, and ``support.worker``.
            own_session: Whether it is not in this process's session, which Ctrl-C ends.
            arguments: What ``support.worker.arguments()`` returns in the script.
        """
        path = {"PYTHONPATH": str(TESTS)} if python else {}
        log = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it.
        process = await asyncio.create_subprocess_exec(
            str(python or sys.executable),
            str(script),
            json.dumps(arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=LONGEST_LINE,
            env=programs.environment(**path),
            start_new_session=own_session,
            preexec_fn=dies_with_parent(),
        )
        return cls(process, Path(script), log)

    @classmethod
    async def fork(cls, script: str | Path, **arguments: Any) -> Self:
        """Start ``script`` in a fork that has most of its imports."""
        log = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it.
        process = await ForkedProcess.start(str(script), json.dumps(arguments), errors=log)
        return cls(process, Path(script), log)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status, None while it runs, negative after a signal."""
        return self._process.returncode

    async def send(self, **request: Any) -> None:  # anything that JSON can hold
        """Send a request. Several may be under way."""
        try:
            self._stdin.write(json.dumps(request).encode() + b"\n")
            await self._stdin.drain()
        except ConnectionError as error:
            raise WorkerError(self._describe("no longer reads requests")) from error

    async def read(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Return the next message that the script sent.

        Raises:
            WorkerError: It ended, or sent nothing within ``timeout`` seconds.
        """
        try:
            line = await asyncio.wait_for(self._stdout.readline(), timeout)
        except asyncio.TimeoutError as error:
            raise WorkerError(self._describe(f"sent nothing within {timeout} s")) from error
        if not line:
            await self._process.wait()
            raise WorkerError(self._describe(f"ended with exit status {self.exit_status}"))
        message: dict[str, Any] = json.loads(line)
        return message

    async def call(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the next message. For one request at a time."""
        await self.send(**request)
        return await self.read()

    async def stop(self, timeout: float = TIMEOUT) -> None:
        """End the script's requests and wait until it has ended well.

        Raises:
            WorkerError: Its exit status is not 0, or it runs on after ``timeout`` seconds.
        """
        self._stdin.close()
        try:
            status = await asyncio.wait_for(self._process.wait(), timeout)
        except asyncio.TimeoutError as error:
            raise WorkerError(self._describe(f"still runs {timeout} s after stop()")) from error
        if status != 0:
            raise WorkerError(self._describe(f"ended with exit status {status}"))

    async def kill(self) -> None:
        """End the process as a crash does, with SIGKILL."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def close(self) -> None:
        """Kill the process if it runs, and free what belongs to it."""
        await self.kill()
        if isinstance(self._process, ForkedProcess):
            self._process.close()
        else:
            self._stdin.close()
        self._log.close()

    def _describe(self, what: str) -> str:
        self._log.seek(0)
        errors = self._log.read().decode(errors="replace").strip()
        return f"{self._script.name} {what}. Its stderr:\n{errors or '(empty)'}"


class Remote:
    """An object in a worker process, whose methods are called as if it were here.

    Args:
        worker: The process, whose script runs `support.worker.answer_calls`.
        timeout: Seconds for a call.
    """

    def __init__(self, worker: WorkerProcess, timeout: float = TIMEOUT) -> None:
        self.worker = worker
        self._timeout = timeout

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        return functools.partial(self.call, method)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method returns there."""
        await self.worker.send(method=method, arguments=arguments)
        return await self.reply()

    async def reply(self) -> Any:
        """Return the next result from there, which a call may have announced."""
        reply = await self.worker.read(self._timeout)
        assert "error" not in reply, reply
        return reply["result"]
