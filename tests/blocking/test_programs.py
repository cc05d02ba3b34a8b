"""Forks, and the end of a loop or of the interpreter, leave nothing behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.liveness import GONE
from support import programs
from support.counting import count_commands
from support.queue_layers import beside, names_in
from support.waiting import all_closed

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.layers import LayerClass

PROGRAM = Path(__file__).parent / "program.py"
FORKED = [*["child 0"] * 4, "ended"]


def run(server: EmbeddedServer, layer_class: LayerClass, how: str) -> list[str]:
    """Run the program with a layer, with warnings as errors; return the lines that it prints.

    It must end by itself with status 0 and write nothing to stderr: no warning, no task that was
    destroyed.
    """
    layer = f"{layer_class.__module__}.{layer_class.__name__}"
    done = programs.run(str(PROGRAM), layer, server.url, how)
    assert done.err == ""
    assert done.status == 0, done.out
    return done.out.splitlines()


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        # Parent and children work after a fork, however the children end.
        ("exit", FORKED),
        ("_exit", FORKED),
        ("in C", FORKED),
        ("loop, then none", ["ended"]),
        ("bare loop", ["ended"]),
        # An exit handler that was registered before the layer was used may still send.
        ("goodbye", ["ended", "said goodbye"]),
        # A call that may open no connection fails, and the next one works when it may.
        ("no descriptors", ["no connection", "ended"]),
    ],
)
async def test_program(
    own_server: EmbeddedServer, layer_class: LayerClass, how: str, lines: list[str]
) -> None:
    """It ends in any way, says nothing else, hangs nowhere, and leaves no connection."""
    assert run(own_server, layer_class, how) == lines
    await all_closed(own_server)


async def test_fork_amid_calls(own_server: EmbeddedServer, layer_class: LayerClass) -> None:
    """Children send, each over one connection, although their parent was sending at the fork."""
    with count_commands(own_server) as counted:
        assert run(own_server, layer_class, "amid calls") == FORKED
    # On a busy machine, some are older than ten seconds, and replaced.
    assert 1 + 4 <= counted.connections <= 1 + 4 + 10
    await all_closed(own_server)


def test_ending_without_server(own_server: EmbeddedServer, layer_class: LayerClass) -> None:
    """A program with members ends in time although the server has stopped answering."""
    began = time.monotonic()
    try:
        assert run(own_server, layer_class, "server silent") == ["ended"]
    finally:
        own_server.resume()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("how", ["stopped loop", "no loop"])
async def test_members_that_no_loop_removes(
    own_server: EmbeddedServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their process is marked as gone, so that the next check removes them."""
    monkeypatch.setattr("channels_redis_queue.protocol.group_cache.LIVENESS_CHECK_INTERVAL", 0)
    layer = RedisChannelLayer(hosts=[own_server.url])
    assert run(own_server, RedisChannelLayer, how) == ["ended"]
    [member] = await names_in(layer, "room")
    with own_server.client() as client:
        assert client.get(beside(layer, member).heartbeat) == GONE
    await layer.group_send("room", {"type": "hello"})
    assert await names_in(layer, "room") == []
    await layer.close_pools()
