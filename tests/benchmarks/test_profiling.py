"""Shares of time from samples and the server's counters."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.survey.limit import PATHS
from benchmarks.survey.profiling import Usage, places, profiles, shares
from benchmarks.survey.services import RedisService
from benchmarks.survey.works.sampling import Sampler
from embedded_server import EmbeddedServer

LOOP = "/usr/lib/python3.11/asyncio/base_events.py:_run_once"
LAYER = "/lib/site-packages/channels_redis_queue/layer.py:send"


@pytest.mark.parametrize(
    ("innermost", "what"),
    [
        ("/usr/lib/python3.11/selectors.py:select", "waiting for the server, in select"),
        ("/usr/lib/python3.11/asyncio/selector_events.py:write", "writing to sockets"),
        (
            "/usr/lib/python3.11/asyncio/selector_events.py:_read_ready__data_received",
            "reading from sockets",
        ),
        (LOOP, "asyncio: event loop, tasks, futures"),
        ("/lib/site-packages/redis/asyncio/connection.py:read_response", "redis-py"),
        ("/lib/site-packages/channels/layers.py:valid_channel_name", "Channels: checks of names"),
        (LAYER, "layer.py"),
        (
            "/site-packages/channels_redis_queue/_shared/delivery/mailboxes.py:put",
            "mailboxes.py",
        ),
        ("/tree/tests/benchmarks/survey/works/direct.py:sender", "the work itself"),
        # Of what has no name of its own, the one who calls it.
        ("/lib/site-packages/msgpack/__init__.py:packb", "layer.py"),
    ],
)
def test_place_of_a_stack(innermost: str, what: str) -> None:
    """The innermost known place says what the process does."""
    assert places(f"{LOOP};{LAYER};{innermost} 3\n") == {what: 3}


def test_stacks_of_one_place_are_added() -> None:
    """A place has all its stacks; what is known from nowhere is named so."""
    assert places(f"{LAYER} 3\n{LOOP};{LAYER} 2\nelsewhere.py:main 1\n") == {
        "layer.py": 5,
        "else": 1,
    }


def test_shares() -> None:
    """The largest come first, as shares of the whole."""
    assert shares({"a": 1.0, "b": 3.0}) == [
        {"what": "b", "share": 0.75},
        {"what": "a", "share": 0.25},
    ]
    assert shares({}) == []


def test_sampler_finds_the_busy_function() -> None:
    """The shares of time follow the ends of the stacks."""

    def busy() -> None:
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            pass

    sampler = Sampler()
    sampler.start()
    busy()
    sampler.stop()
    assert sampler.stacks.most_common(1)[0][0].endswith("test_profiling.py:busy")


def info(cpu: float, usec: int, **commands: int) -> dict[str, Any]:
    """Return what INFO tells."""
    took = {f"cmdstat_{name}": {"usec": took} for name, took in commands.items()}
    return {"used_cpu_sys": cpu, "used_cpu_user": cpu, "server_time_usec": usec, **took}


def test_usage_of_scripts() -> None:
    """A script's own time is without its commands; what is left is no command's."""
    with EmbeddedServer() as server:
        usage = Usage(RedisService([server], [server.url]))
    usage._marks = {
        "begin": info(1, 0, zadd=1_000_000),
        "end": info(3, 8_000_000, zadd=1_500_000, evalsha=2_000_000, bzpopmin=500_000, info=9),
    }
    assert usage.entries() == {
        "ZADD": 0.5,
        "BZPOPMIN": 0.5,
        "scripts, without their commands": 1.5,
        "network and parsing, outside of commands": 1.5,
    }
    assert usage.busy == 0.5


def test_profiles_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path has a profile of the client and one of the server."""
    monkeypatch.setattr("benchmarks.survey.limit.PATHS", PATHS[:1])
    monkeypatch.setattr("benchmarks.survey.profiling.SECONDS", 0.2)
    with EmbeddedServer() as server:
        service = RedisService([server], [server.url])
        client, its_server = profiles({"pubsub": Path(sys.executable)}, service)
    assert (client["contender"], client["work"], client["side"]) == (
        "pubsub",
        "one-in-flight",
        "client",
    )
    assert {"writing to sockets", "waiting for the server, in select"} <= {
        entry["what"] for entry in client["entries"]
    }
    assert {entry["what"] for entry in its_server["entries"]} == {
        "PUBLISH",
        "network and parsing, outside of commands",
    }
