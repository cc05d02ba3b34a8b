"""The conformance suite on uvloop."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import programs


# In one process, one after the other.
@pytest.mark.timeout(240)
@pytest.mark.slow
def test_conformance_on_uvloop() -> None:
    """Connections and event loops keep the contract on uvloop, for both layers."""
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    tests = Path(__file__).parents[1]
    # With warnings as errors, a loop of uvloop that is closed before its connections never returns,
    # and hears no signal: a thread has to end the run. It prints where.
    options = ["-q", "--timeout-method=thread", "-p", "support.on_uvloop"]
    # Its loops can't use asyncio's factory of eager tasks.
    options += ["-k", "([queue] or [pubsub]) and not eager"]
    modules = ("groups", "loops", "processes", "receivers")
    options += [f"tests/conformance/test_{name}.py" for name in modules]
    done = programs.run_new("-m", "pytest", *options, cwd=tests.parent, timeout=230)
    assert done.status == 0, (done.out + done.err)[-6000:]
    assert " passed" in done.out
