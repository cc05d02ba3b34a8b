from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.processes import WorkerError, WorkerProcess

if TYPE_CHECKING:
    from conftest import RunProcess

ECHO = Path(__file__).parent / "echo_worker.py"


@pytest.mark.parametrize("loop", [True, False])
async def test_talks_both_ways(run_process: RunProcess, loop: bool) -> None:  # noqa: FBT001
    """A worker gets its arguments, answers requests, large ones too, and ends when told to."""
    worker = await run_process(ECHO, loop=loop, url="redis://somewhere")
    assert await worker.read() == {
        "ready": True,
        "arguments": {"loop": loop, "url": "redis://somewhere"},
    }
    if loop:
        assert await worker.read() == {"tick": True}
    assert await worker.call(echo=["ü", 1, None]) == {"echo": ["ü", 1, None]}
    assert await worker.call(echo="x" * 2_000_000) == {"echo": "x" * 2_000_000}
    await worker.stop()
    assert worker.exit_status == 0


async def test_environment(run_process: RunProcess) -> None:
    """Environment variables can be added."""
    worker = await run_process(ECHO, environment={"SETTING": "on"})
    await worker.read()
    assert await worker.call(environment="SETTING") == {"value": "on"}


async def test_other_python_imports_nothing_of_ours(run_process: RunProcess) -> None:
    """With ``python`` given, only the tests' folder is added to what the worker can import."""
    worker = await run_process(ECHO, python=sys.executable)
    await worker.read()
    path = (await worker.call(path=True))["path"]
    assert str(ECHO.parent.parent) in path
    assert not [entry for entry in path if entry.endswith(("docs/examples", "shared/src"))]


async def test_failure_shows_stderr(run_process: RunProcess) -> None:
    """A worker that fails makes the test fail with its traceback."""
    worker = await run_process(ECHO)
    await worker.read()
    with pytest.raises(WorkerError, match=r"(?s)echo_worker.py ended.*status 1.*ValueError: oops"):
        await worker.call(fail="oops")
    with pytest.raises(WorkerError, match="ended with exit status 1"):
        await worker.stop()


async def test_stray_output_is_an_error(run_process: RunProcess) -> None:
    """Output that is no JSON object is reported as such."""
    worker = await run_process(ECHO)
    await worker.read()
    with pytest.raises(WorkerError, match=r"wrote b'stray\\n', which is no JSON"):
        await worker.call(write="stray\n")
    with pytest.raises(WorkerError, match=r"wrote b'3\\n', which is no JSON object"):
        await worker.call(write="3\n")


async def test_silence_is_an_error(run_process: RunProcess) -> None:
    """A worker that sends nothing is given up after the deadline."""
    worker = await run_process(ECHO)
    await worker.read()
    with pytest.raises(WorkerError, match=r"sent nothing within 0\.01 s"):
        await worker.read(timeout=0.01)


async def test_kill(run_process: RunProcess) -> None:
    """A killed worker is gone, and later requests say so."""
    worker = await run_process(ECHO)
    await worker.read()
    await worker.kill()
    assert worker.exit_status == -signal.SIGKILL
    with pytest.raises(WorkerError, match="ended with exit status -9"):
        await worker.read()


async def test_close_kills() -> None:
    """Closing ends a worker that was not stopped."""
    worker = await WorkerProcess.start(ECHO)
    await worker.read()
    await worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
