"""Findings about a server, decided without one."""

from __future__ import annotations

from channels_redis_shared.cli.doctor import check_memory, check_server, check_slots
from channels_redis_shared.cli.findings import Finding, Level, Section
from channels_redis_shared.cli.servers import check_role
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.cluster import Cluster


def test_nothing_is_known() -> None:
    """A server that tells nothing is noted as such, which is no warning."""
    findings = [check_server({}), check_role({}, in_cluster=False), check_memory({}, stores=True)]
    assert {finding.level for finding in findings} == {Level.NOTE}


def test_cluster_with_slots_without_a_node() -> None:
    """A Cluster in which a slot has no node is an error, a whole one is not."""
    (host,) = parse_hosts([{"cluster": [("localhost", 7000)]}])
    cluster = Cluster(host)
    cluster._owners = [("localhost", 7000)] * 16384
    assert check_slots(cluster).level is Level.OK
    cluster._owners = [None, *cluster._owners[1:]]
    assert check_slots(cluster).level is Level.ERROR
    assert "1 masters have 16383 of 16384 slots" in check_slots(cluster).text


def test_worst_finding() -> None:
    """The worst finding decides."""
    assert Section("one").worst is Level.OK
    findings = [Finding(Level.OK, "this", "is good"), Finding(Level.WARNING, "that", "is", "do it")]
    assert Section("two", findings).worst is Level.WARNING
