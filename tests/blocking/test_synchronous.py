"""Synchronous callers, each call of which has an event loop of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import redis
from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from blocking.conftest import PROGRAMS, all_closed

if TYPE_CHECKING:
    from blocking.conftest import RunProgram
    from embedded_server import EmbeddedServer


@pytest.mark.parametrize("threads", [1, 16])
async def test_calls_share_connections(
    run_program: RunProgram, own_server: EmbeddedServer, threads: int
) -> None:
    """A thousand calls open four connections at most, and lose and reorder nothing."""
    connections, received, order = run_program("many_calls", str(threads))
    assert int(connections.removeprefix("connections ")) <= min(threads, 4)
    assert received == "received 992"
    assert order == "in order True"
    await all_closed(own_server)


async def test_two_loops_receive(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """Two loops in two threads receive at the same time, each what is for its own channel."""
    assert run_program("two_loops") == ["True True"]
    await all_closed(own_server)


def test_dead_server(own_server: EmbeddedServer, layer_class: str) -> None:
    """A call fails within seconds when the server is dead, and works when it is back."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAMS / "dead_server.py"), layer_class, own_server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "sent\n"
        own_server.kill()
        program.stdin.write("\n")
        program.stdin.flush()
        word, error, seconds = program.stdout.readline().split()
        assert word == "failed"
        assert error in {"ConnectionError", "TimeoutError"}
        assert float(seconds) < 8
        own_server.restart(empty=True)
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "sent again\n"
        program.stdin.close()
        assert program.wait(20) == 0


def test_limits_of_a_call(own_server: EmbeddedServer, layer_class: str) -> None:
    """A host's limits bound calls to a silent server: on an open connection, and to open one."""
    limits = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    layer = import_string(layer_class)(hosts=[{"address": own_server.url, **limits}])
    send = async_to_sync(layer.group_send)
    send("room", {"type": "hello"})
    own_server.pause()
    try:
        for _ in ("open", "opening"):
            began = time.monotonic()
            with pytest.raises(redis.TimeoutError):
                send("room", {"type": "hello"})
            assert time.monotonic() - began < 4
    finally:
        own_server.resume()
    send("room", {"type": "hello"})
    async_to_sync(layer.close_pools)()


async def test_no_descriptors(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """A call that may open no connection fails, and the next one works when it may."""
    assert run_program("no_descriptors") == ["no connection", "sent"]
    await all_closed(own_server)


def test_programs_are_all_run() -> None:
    """No program lies here that no test runs."""
    tests = " ".join(path.read_text() for path in PROGRAMS.parent.glob("test_*.py"))
    programs = {path.stem for path in PROGRAMS.glob("*.py")} - {"setting"}
    assert [name for name in programs if json.dumps(name)[1:-1] not in tests] == []
