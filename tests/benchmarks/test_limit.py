"""Recording and replaying a layer's commands."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from benchmarks.survey.limit import record, replayed, require_same_work
from benchmarks.survey.recording import recorder
from benchmarks.survey.running import Failed
from benchmarks.survey.services import redis_service
from benchmarks.survey.trial import Job
from embedded_server import EmbeddedServer

EVERY_BYTE = bytes(range(256))


def test_recording_of_a_server() -> None:
    """Commands of clients are kept byte by byte; those of scripts are not."""
    with EmbeddedServer() as server, recorder(server) as listening:
        with Redis(port=server.port) as client:
            client.set("before", 1)
            listening.mark("begin")
            client.execute_command("SET", EVERY_BYTE, b"")
            client.execute_command("EVAL", "return redis.call('GET', KEYS[1])", 1, "key")
            time.sleep(0.001)
            listening.mark("end")
            client.set("after", 1)
        recording = listening.recording(calls=1.5)

    assert [step.words[:3] for step in recording.setup] == [[b"SET", b"before", b"1"]]
    assert [step.words[0] for step in recording.work] == [b"SET", b"EVAL"]
    assert recording.work[0].words == [b"SET", EVERY_BYTE, b""]
    assert recording.operations == 2  # The script's GET counts.


@pytest.mark.parametrize(
    ("contender", "work", "parameters"),
    [
        ("queue", "workers", {"workers": 1}),
        ("pubsub", "churn", {}),
    ],
)
def test_does_the_same_work(contender: str, work: str, parameters: dict[str, int]) -> None:
    """The server runs as many commands for the raw client as for the layer."""
    python = Path(sys.executable)
    with redis_service(shards=1, cluster=False) as service:
        job = Job(contender, service.hosts, work, parameters)
        figures = replayed(job, record(job, python, service), python, service)
    assert figures["rate"] > 0


def test_other_work_than_recorded() -> None:
    """A replay that was other work for the server is an error, not a figure."""
    require_same_work(10, 10.9)
    with pytest.raises(Failed, match=r"not the same work: 8\.00 commands"):
        require_same_work(10, 8)
