"""Findings from the facts about a server, decided without one."""

from __future__ import annotations

import pytest

from channels_redis_shared.cli.doctor import (
    Diagnosis,
    Finding,
    Level,
    Section,
    check_clock,
    check_memory,
    check_output_buffers,
    check_role,
    check_round_trips,
    check_server,
    check_slots,
)
from channels_redis_shared.cli.servers import ServerFacts, parse_buffer_limits, parse_info
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.cluster import Cluster


def facts(**changed: object) -> ServerFacts:
    """Return the facts of a good server, some of them changed."""
    found: dict[str, object] = {
        "info": {"redis_version": "8.0.2", "role": "master", "maxmemory_policy": "noeviction"},
        "buffer_limits": {"normal": (0, 0, 0), "pubsub": (32 << 20, 8 << 20, 60)},
        "round_trips": [0.001] * 200,
        "clock_offset": 0.01,
        **changed,
    }
    return ServerFacts(**found)  # type: ignore[arg-type]  # each test gives the right ones


def levels(known: ServerFacts) -> set[Level]:
    """Return the levels of all checks of a server."""
    return {
        check_server(known).level,
        check_role(known, in_cluster=False).level,
        check_round_trips(known).level,
        check_memory(known).level,
        check_output_buffers(known, "normal").level,
        check_clock(known, stores_messages=True).level,
    }


def test_good_server() -> None:
    """Nothing is wrong with a good server."""
    assert levels(facts()) == {Level.OK}


def test_nothing_is_known() -> None:
    """A server that tells nothing is noted as such, which is no warning."""
    unknown = facts(info={}, buffer_limits=None, clock_offset=None)
    assert levels(unknown) == {Level.NOTE, Level.OK}


def test_slow_round_trips() -> None:
    """A usual round trip of over 10 ms is a warning; a rare one is not."""
    assert check_round_trips(facts(round_trips=[0.02] * 200)).level is Level.WARNING
    rare = check_round_trips(facts(round_trips=[0.001] * 190 + [0.5] * 10))
    assert rare.level is Level.OK
    assert rare.text == "min 1.00 ms, median 1.00 ms, p99 500.00 ms"


@pytest.mark.parametrize(("ahead", "level"), [(1.5, Level.OK), (3, Level.WARNING)])
def test_clocks(ahead: float, level: Level) -> None:
    """Clocks that differ by more than 2 s, either way, are a warning."""
    assert check_clock(facts(clock_offset=ahead), stores_messages=True).level is level
    assert check_clock(facts(clock_offset=-ahead), stores_messages=True).level is level
    assert "behind" in check_clock(facts(clock_offset=-ahead), stores_messages=True).text
    # Pub/Sub keeps no times.
    assert check_clock(facts(clock_offset=ahead), stores_messages=False).level is Level.OK


def test_cluster_with_slots_without_a_node() -> None:
    """A Cluster in which a slot has no node is an error, a whole one is not."""
    (host,) = parse_hosts([{"cluster": [("localhost", 7000)]}])
    cluster = Cluster(host)
    cluster._owners = [("localhost", 7000)] * 16384
    assert check_slots(cluster).level is Level.OK
    cluster._owners = [None, *cluster._owners[1:]]
    assert check_slots(cluster).level is Level.ERROR
    assert "1 masters have 16383 of 16384 slots" in check_slots(cluster).text


def test_replies_of_both_protocols() -> None:
    """INFO and CONFIG GET are read in the forms of protocol 2 and 3; refusals are no facts."""
    assert parse_info(b"# Server\r\nredis_version:8.0.2\r\nrole:master\r\n") == {
        "redis_version": "8.0.2",
        "role": "master",
    }
    assert parse_info(ValueError("refused")) == {}
    limits = b"normal 0 0 0 pubsub 100 50 60"
    expected = {"normal": (0, 0, 0), "pubsub": (100, 50, 60)}
    assert parse_buffer_limits([b"client-output-buffer-limit", limits]) == expected
    assert parse_buffer_limits({b"client-output-buffer-limit": limits}) == expected
    assert parse_buffer_limits(ValueError("refused")) is None
    assert parse_buffer_limits([]) is None


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
