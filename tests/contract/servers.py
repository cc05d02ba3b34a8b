"""The servers behind the layers, and what each layer needs to be told of them."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.survey.services import nats_service, redis_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Started(NamedTuple):
    """A server that runs, or nothing at all: its name and version, and the layer's options."""

    software: str = ""
    config: dict[str, Any] = {}  # noqa: RUF012 - it is only read


@contextlib.contextmanager
def nothing() -> Iterator[Started]:
    """Run no server."""
    yield Started()


@contextlib.contextmanager
def redis() -> Iterator[Started]:
    """Run a server of Redis or Valkey."""
    with redis_service(shards=1, cluster=False) as server:
        yield Started(server.software.capitalize(), {"hosts": server.hosts})


@contextlib.contextmanager
def nats() -> Iterator[Started]:
    """Run a NATS server."""
    with nats_service() as server:
        yield Started(server.software, {"servers": list(server.hosts)})


SERVERS: dict[str, Callable[[], AbstractContextManager[Started]]] = {
    "": nothing,
    "redis": redis,
    "nats": nats,
}


def missing(server: str) -> str | None:
    """Return why a server can't run on this machine, None if it can."""
    if server != "nats" or shutil.which("nats-server"):
        return None
    return "there is no nats-server on PATH (apt install nats-server)"


if __name__ == "__main__":
    # What `contract.run` tells of the server.
    with SERVERS[sys.argv[1]]() as started:
        sys.stdout.write(started.software)
