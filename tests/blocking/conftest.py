"""Runs whole programs that use a layer, and looks at what they leave behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from support import programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_server import EmbeddedServer

PROGRAMS = Path(__file__).parent / "programs"
LAYERS = {
    "queue": "channels_redis_queue.RedisChannelLayer",
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
}


class RunProgram(Protocol):
    """Runs a program to its end."""

    def __call__(self, name: str, *arguments: str, url: str | None = None) -> list[str]:
        """Return the lines that `programs/<name>.py` prints; fail unless all else is clean."""


@pytest.fixture(params=list(LAYERS))
def layer_class(request: pytest.FixtureRequest) -> str:
    """Return the import string of each layer."""
    return LAYERS[request.param]


@pytest.fixture
def run_program(own_server: EmbeddedServer, layer_class: str) -> RunProgram:
    """Return a function that runs a program with a layer, with warnings as errors.

    The program gets the layer's class and the server's URL as its first arguments. It must end by
    itself with status 0 and write nothing to stderr: no warning, no task that was destroyed.
    """

    def run(name: str, *arguments: str, url: str | None = None) -> list[str]:
        path = str(PROGRAMS / f"{name}.py")
        done = programs.run(path, layer_class, url or own_server.url, *arguments)
        assert done.err == ""
        assert done.status == 0, done.out
        return done.out.splitlines()

    return run


@contextlib.contextmanager
def opens(server: EmbeddedServer, count: int, spare: int = 0) -> Iterator[None]:
    """Check how many connections are opened in the block, with some to spare."""
    with server.client() as client:
        before = client.info("stats")["total_connections_received"]
        yield
        opened = client.info("stats")["total_connections_received"] - before
        assert count <= opened <= count + spare
