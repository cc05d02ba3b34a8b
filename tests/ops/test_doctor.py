"""The doctor, on servers of each kind that it distinguishes."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from support.commands import CLASSES, PACKAGES, PUBSUB, QUEUE, examine, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster


@pytest.mark.parametrize("package", PACKAGES)
def test_healthy_server(package: str, redis_server: EmbeddedServer) -> None:
    """A good server gets 0, and a table with all that was looked at."""
    done = run(package, "doctor", redis_server.url)
    assert (done.status, done.err) == (0, "")
    for text in (
        CLASSES[package],
        f"ok hosts {redis_server.url}",
        "ok server ",
        "ok topology a master, with 0 replicas",
        "ok eviction maxmemory 0B, maxmemory-policy noeviction",
        "ok rights user 'default' may call all that the layer needs",
        "ok rights, presence user 'default' may call all that presence needs",
        "ok message arrived after ",
        "ok group message arrived after ",
        f"For a bug report: Python {platform.python_version()} {package} ",
        *(f" {name} " for name in ("channels", "Django", "redis", "hiredis", "msgpack")),
        "All is well.",
    ):
        assert text in done.words


def test_policy_that_evicts(start_server: Callable[..., EmbeddedServer]) -> None:
    """A server that may delete messages gets 1, and the policy that does not."""
    server = start_server("maxmemory 100mb", "maxmemory-policy allkeys-lru")
    done = run(QUEUE, "doctor", server.url)
    assert done.status == 1
    assert "warning eviction maxmemory 100.00M, maxmemory-policy allkeys-lru" in done.words
    assert "-> set maxmemory-policy noeviction" in done.words
    assert "ok message" in done.words
    # Pub/Sub's messages are not stored; presence and histories are.
    report = examine(PUBSUB, server.url)
    assert (report.status, report.about("eviction")["level"]) == (0, "note")


def test_replica(start_server: Callable[..., EmbeddedServer]) -> None:
    """A replica gets 2, and the address of its master; `stats` refuses to count there."""
    master = start_server("repl-diskless-sync-delay 0")
    replica = start_server(f"replicaof 127.0.0.1 {master.port}")
    report = examine(QUEUE, replica.url)
    assert report.status == 2
    assert report.about("topology")["text"] == f"it is a replica of 127.0.0.1:{master.port}"
    shown = run(QUEUE, "stats", replica.url)
    assert (shown.status, shown.out) == (2, "")
    assert "it is a replica of 127.0.0.1:" in shown.err
    text = "a master, with 1 replicas"
    assert examine(QUEUE, master.url).about("topology")["text"] == text


@pytest.mark.parametrize("package", PACKAGES)
def test_cluster(package: str, redis_cluster: EmbeddedCluster, prefix: str) -> None:
    """Each node is looked at, and messages pass; for a node alone, it says how to write both."""
    report = examine(package, redis_cluster.host, prefix=prefix)
    assert report.status == 0
    kinds = [finding["text"] for finding in report.findings if finding["subject"] == "topology"]
    assert kinds == ["a node of a Cluster, with 0 replicas"] * 3
    assert report.about("group message")["level"] == "ok"
    node = examine(package, redis_cluster.nodes[0].url).about("topology")
    assert (node["level"], '{"cluster": [' in node["advice"]) == ("error", True)


@pytest.mark.parametrize("query", ["?ssl_cert_reqs=none", "?ssl_check_hostname=false"])
def test_tls_that_checks_nothing(query: str) -> None:
    """The doctor says if TLS does not check who the server is."""
    assert examine(QUEUE, f"rediss://127.0.0.2:1/0{query}").about("TLS")["level"] == "note"


@pytest.mark.parametrize("package", PACKAGES)
def test_messages_pass_through_each_shard(
    package: str, redis_shards: tuple[EmbeddedServer, ...]
) -> None:
    """With several hosts, both test messages go through each; their groups may keep a history."""
    report = examine(package, *(server.url for server in redis_shards), history={"*": {}})
    assert report.status == 0
    passed = [finding for finding in report.findings if finding["subject"] == "group message"]
    assert len(passed) == len(redis_shards)


def test_one_shard_away(redis_server: EmbeddedServer, prefix: str) -> None:
    """If one of two hosts is unavailable, the other is still examined, and all keys expire."""
    report = examine(QUEUE, redis_server.url, "redis://127.0.0.1:1/0", prefix=prefix)
    assert report.status == 2
    assert report.about("connection")["level"] == "error"
    assert report.about("group message")["level"] == "ok"
    with redis_server.client() as client:
        keys = [key for key in client.keys(f"{prefix}*") if b"group" not in key]
        # -1 would be a key that never expires; -2 is one that has gone since.
        assert all(client.ttl(key) in range(601) or not client.exists(key) for key in keys)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["http://localhost"], "an address must begin with redis://"),
        ([], "define the environment variable DJANGO_SETTINGS_MODULE"),
        (["--wide"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments(arguments: list[str], text: str) -> None:
    """An argument that makes no sense gets 2, and what is wrong with it."""
    done = run(QUEUE, "doctor", *arguments)
    assert done.status == 2
    assert text in " ".join(done.err.split())
