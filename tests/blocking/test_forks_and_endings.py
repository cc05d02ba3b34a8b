"""Forks, and the end of a loop or of the interpreter, leave nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.counting import count_commands
from support.waiting import all_closed

if TYPE_CHECKING:
    from blocking.conftest import RunProgram
    from embedded_server import EmbeddedServer


FORKED = ["child 0"] * 4 + ["parent fine"]


@pytest.mark.parametrize("how", ["exit", "_exit", "in C"])
async def test_fork(run_program: RunProgram, own_server: EmbeddedServer, how: str) -> None:
    """Parent and children work after a fork, however the children end."""
    assert run_program("forked", how) == FORKED
    await all_closed(own_server)


async def test_fork_amid_calls(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """Children send, each over one connection, although their parent was sending at the fork."""
    with count_commands(own_server) as counted:
        assert run_program("forked", "amid calls") == FORKED
    # On a busy machine, some are older than ten seconds, and replaced.
    assert 1 + 4 <= counted.connections <= 1 + 4 + 10
    await all_closed(own_server)


@pytest.mark.parametrize("way", ["both", "bare loop"])
async def test_ending(run_program: RunProgram, own_server: EmbeddedServer, way: str) -> None:
    """A program that ends in any way says nothing, hangs nowhere, and leaves no connection."""
    assert run_program("ending", way) == ["ended"]
    await all_closed(own_server)


def test_ending_without_server(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """A program ends although the server has stopped answering."""
    try:
        assert run_program("ending", "server silent", str(own_server.pid)) == ["ended"]
    finally:
        own_server.resume()


async def test_goodbye(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """An exit handler that was registered before the layer was used may still send."""
    assert run_program("ending", "goodbye") == ["ended", "said goodbye"]
    await all_closed(own_server)


async def test_no_descriptors(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """A call that may open no connection fails, and the next one works when it may."""
    assert run_program("no_descriptors") == ["no connection", "sent"]
    await all_closed(own_server)
