"""Findings about a server, decided without one."""

from __future__ import annotations

from channels_redis_shared.cli.doctor import check_server
from channels_redis_shared.cli.findings import Finding, Level, Section
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.connector import Connector


def test_nothing_is_known() -> None:
    """A server that tells nothing is noted as such, which is no warning."""
    (host,) = parse_hosts(None)
    (finding,) = check_server({}, Connector(host), stores=True)
    assert finding.level is Level.NOTE


def test_worst_finding() -> None:
    """The worst finding decides."""
    assert Section("one").worst is Level.OK
    findings = [Finding(Level.OK, "this", "is good"), Finding(Level.WARNING, "that", "is", "do it")]
    assert Section("two", findings).worst is Level.WARNING
