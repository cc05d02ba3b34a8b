"""Synchronous callers: Django's views, pools, gevent, uvloop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blocking.conftest import all_closed

if TYPE_CHECKING:
    from blocking.conftest import RunProgram
    from embedded_server import EmbeddedServer


@pytest.mark.parametrize("way", ["async view", "wsgi"])
async def test_django(run_program: RunProgram, own_server: EmbeddedServer, way: str) -> None:
    """Fifty sends from Django reach a consumer, over a handful of connections that all close."""
    received, connections = run_program("django_project", way)
    assert received == "received 50"
    # A consumer's two, one of synchronous callers, and one of a loop that lasts.
    assert int(connections.removeprefix("connections ")) <= 4
    await all_closed(own_server)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_prefork_pool(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """Forked workers keep a connection of their own for all their tasks."""
    lines = run_program("prefork")
    assert lines == ["at most one connection a worker True", "parent fine"]
    await all_closed(own_server)


async def test_suite_of_a_project(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """Tests with an event loop each may share a layer, and leave consumers waiting."""
    assert run_program("suite_of_a_project") == ["21 run"]
    await all_closed(own_server)


async def test_gevent(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """After monkey-patching by gevent, sends work and share one connection."""
    pytest.importorskip("gevent", reason="gevent is not installed")
    [connections] = run_program("with_gevent")
    assert connections == "connections 1"
    await all_closed(own_server)


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
    modules = ("channels", "groups", "loops", "overflow", "processes", "receivers")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            *(f"tests/conformance/test_{name}.py" for name in modules),
        ],
        cwd=tests.parent,
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert " passed" in done.stdout
