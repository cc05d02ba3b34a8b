"""What the facts about a server mean: decided without one."""

from __future__ import annotations

import pytest

from channels_redis_shared.cli.findings import Diagnosis, Finding, Level, Section
from channels_redis_shared.cli.judging import judge, judge_clock, judge_round_trips, judge_slots
from channels_redis_shared.cli.servers import Facts, read_buffers, read_info
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.cluster import Cluster


def facts(**changed: object) -> Facts:
    """Return the facts of a good server, some of them changed."""
    found: dict[str, object] = {
        "info": {"redis_version": "8.0.2", "role": "master", "maxmemory_policy": "noeviction"},
        "buffers": {"normal": (0, 0, 0), "pubsub": (32 << 20, 8 << 20, 60)},
        "round_trips": [0.001] * 200,
        "clock": 0.01,
        **changed,
    }
    return Facts(**found)  # type: ignore[arg-type]  # each test gives the right ones


def test_good_server() -> None:
    """Nothing is wrong with a good server."""
    found = judge(facts(), stores=True, clients="normal", cluster=False)
    assert {finding.level for finding in found} == {Level.OK}


def test_nothing_is_known() -> None:
    """A server that tells nothing is noted as such, which is no warning."""
    unknown = facts(info={}, buffers=None, clock=None)
    found = judge(unknown, stores=True, clients="normal", cluster=False)
    assert {finding.level for finding in found} == {Level.NOTE, Level.OK}


def test_slow_round_trips() -> None:
    """A usual round trip of over 10 ms is a warning; a rare one is not."""
    assert judge_round_trips(facts(round_trips=[0.02] * 200)).level is Level.WARNING
    rare = judge_round_trips(facts(round_trips=[0.001] * 190 + [0.5] * 10))
    assert rare.level is Level.OK
    assert rare.text == "min 1.00 ms, median 1.00 ms, p99 500.00 ms"


@pytest.mark.parametrize(("ahead", "level"), [(1.5, Level.OK), (3, Level.WARNING)])
def test_clocks(ahead: float, level: Level) -> None:
    """Clocks that differ by more than 2 s, either way, are a warning."""
    assert judge_clock(facts(clock=ahead), stores=True).level is level
    assert judge_clock(facts(clock=-ahead), stores=True).level is level
    assert "behind" in judge_clock(facts(clock=-ahead), stores=True).text
    # Pub/Sub keeps no times.
    assert judge_clock(facts(clock=ahead), stores=False).level is Level.OK


def test_sentinel_among_the_hosts() -> None:
    """A Sentinel that is written as a server is an error."""
    found = judge(facts(info={"redis_mode": "sentinel"}), stores=True, clients="x", cluster=False)
    assert [finding.subject for finding in found if finding.level is Level.ERROR] == ["topology"]


def test_cluster_with_slots_of_nobody() -> None:
    """A Cluster in which a slot has no node is an error, a whole one is not."""
    (host,) = parse_hosts([{"cluster": [("localhost", 7000)]}])
    cluster = Cluster(host)
    cluster._owners = [("localhost", 7000)] * 16384
    assert judge_slots(cluster).level is Level.OK
    cluster._owners = [None, *cluster._owners[1:]]
    assert judge_slots(cluster).level is Level.ERROR
    assert "1 masters have 16383 of 16384 slots" in judge_slots(cluster).text


def test_replies_of_both_protocols() -> None:
    """INFO and CONFIG GET are read in the forms of protocol 2 and 3; refusals are no facts."""
    assert read_info(b"# Server\r\nredis_version:8.0.2\r\nrole:master\r\n") == {
        "redis_version": "8.0.2",
        "role": "master",
    }
    assert read_info(ValueError("refused")) == {}
    limits = b"normal 0 0 0 pubsub 100 50 60"
    expected = {"normal": (0, 0, 0), "pubsub": (100, 50, 60)}
    assert read_buffers([b"client-output-buffer-limit", limits]) == expected
    assert read_buffers({b"client-output-buffer-limit": limits}) == expected
    assert read_buffers(ValueError("refused")) is None
    assert read_buffers([]) is None


@pytest.mark.parametrize(
    ("level", "status"), [(Level.OK, 0), (Level.NOTE, 0), (Level.WARNING, 1), (Level.ERROR, 2)]
)
def test_exit_status(level: Level, status: int) -> None:
    """The worst finding decides the exit status."""
    findings = [Finding(Level.OK, "this", "is good"), Finding(level, "that", "is so", "do it")]
    assert Diagnosis([Section("one"), Section("two", findings)], {}).status == status


def test_no_complaint_without_advice() -> None:
    """A finding that says what is wrong and not what to do can't be made."""
    with pytest.raises(ValueError, match="needs an advice"):
        Finding(Level.WARNING, "this", "is bad")
