"""The servers that a contender needs, started for it, and what can be counted at them."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from embedded_server import HOST, EmbeddedServer, dies_with_parent, reserve_port
from support.cluster import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.survey.contenders import Contender

NATS_START = 10.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


class Absent(Exception):
    """Something is not on this machine; the message says what to install."""


class Service(Protocol):
    """The servers behind a layer.

    `hosts` is what they are in the form that the layer takes; `software` is their name and version.
    """

    hosts: list[Any]
    software: str

    def counters(self) -> Mapping[str, float]:
        """Return what has been counted at them up to now."""
        ...

    def empty(self) -> None:
        """Forget all data."""
        ...


class RedisService:
    """Redis servers: one, or several as shards or as nodes of a Cluster."""

    def __init__(self, servers: Sequence[EmbeddedServer], hosts: Sequence[Any]) -> None:
        self.hosts = list(hosts)
        self.servers = servers
        with servers[0].client() as client:
            info = client.info("server")
        version = info.get("valkey_version", info["redis_version"])
        self.software = f"{info.get('server_name', 'redis')} {version}"

    def counters(self) -> Mapping[str, float]:
        """Add up the counters of all servers."""
        total: collections.Counter[str] = collections.Counter()
        for server in self.servers:
            with server.client() as client:
                info = client.info("everything")
            total["server_memory"] += info["used_memory"]
            total["server_cpu"] += info["used_cpu_sys"] + info["used_cpu_user"]
            total["bytes"] += info["total_net_input_bytes"] + info["total_net_output_bytes"]
            total["calls"] += sum(
                figures["calls"] for name, figures in info.items() if name.startswith("cmdstat_")
            )
        return total

    def empty(self) -> None:
        """Empty each server."""
        for server in self.servers:
            with server.client() as client:
                client.flushall()


class NatsService:
    """A NATS server."""

    def __init__(self, url: str, statistics: str, process: int) -> None:
        self.hosts = [url]
        self._statistics = statistics
        self._process = process
        self.software = f"nats-server {monitored(statistics)['version']}"

    def counters(self) -> Mapping[str, float]:
        """Return the counters of the server, and its CPU time."""
        counted = monitored(self._statistics)
        return {
            "server_memory": counted["mem"],
            "server_cpu": cpu_seconds(self._process),
            "bytes": counted["in_bytes"] + counted["out_bytes"],
        }

    def empty(self) -> None:
        """Do nothing: it keeps nothing."""


def monitored(address: str) -> Mapping[str, Any]:
    """Read a page of a NATS server's monitoring port."""
    with urllib.request.urlopen(address, timeout=5) as page:  # noqa: S310 - an address of ours
        answer: Mapping[str, Any] = json.load(page)
    return answer


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process, its ended and awaited children included."""
    stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    # The name of the program, which is in parentheses, may hold anything.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / TICKS


def service(
    contender: Contender, *, shards: int = 1, cluster: bool = False
) -> AbstractContextManager[Service]:
    """Run what a contender needs, until the block ends.

    Raises:
        Absent: It is not on this machine.
    """
    if contender.server == "nats":
        return nats_service()
    return redis_service(shards=shards, cluster=cluster)


@contextlib.contextmanager
def redis_service(*, shards: int, cluster: bool) -> Iterator[RedisService]:
    """Run so many Redis servers, or a Cluster of three."""
    with contextlib.ExitStack() as stack:
        if cluster:
            nodes = stack.enter_context(EmbeddedCluster())
            yield RedisService(nodes.nodes, [nodes.host])
        else:
            servers = [stack.enter_context(EmbeddedServer()) for _ in range(shards)]
            yield RedisService(servers, [server.url for server in servers])


@contextlib.contextmanager
def nats_service() -> Iterator[Service]:
    """Run a NATS server.

    Raises:
        Absent: There is none on PATH.
    """
    binary = shutil.which("nats-server")
    if binary is None:
        raise Absent("there is no nats-server on PATH (apt install nats-server)")
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(reserve_port()).getsockname()[1] for _ in range(2)]
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nats-"))
        options = ("-a", HOST, "-p", str(ports[0]), "-m", str(ports[1]), "-l", f"{folder}/log")
        process = subprocess.Popen(
            [binary, *options],
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls prctl.
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        statistics = f"http://{HOST}:{ports[1]}/varz"
        _until_answered(statistics, process)
        yield NatsService(f"nats://{HOST}:{ports[0]}", statistics, process.pid)


def _until_answered(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + NATS_START
    while True:
        try:
            monitored(address)
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
