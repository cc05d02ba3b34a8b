"""Recording and replaying a layer's commands."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from benchmarks.survey.limit import require_same_work
from benchmarks.survey.raw import Arrivals
from benchmarks.survey.recording import Recording, Sent, Step, parse, recorder, steps_of
from benchmarks.survey.running import Failed, run
from benchmarks.survey.services import RedisService
from benchmarks.survey.trial import Job
from benchmarks.survey.works.replaying import undoing, units_of
from channels_redis_queue import scripts
from channels_redis_queue.publisher import ExpectedMembers, OutgoingMessage, SendBatch
from embedded_server import EmbeddedServer

EVERY_BYTE = bytes(range(256))


def sends(*arrivals: int) -> list[Step]:
    """Return commands by which so much arrives each."""
    return [Step("send", ["PUBLISH"], count) for count in arrivals]


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


def test_other_lines_than_monitors() -> None:
    """A reply that is no line of MONITOR is refused."""
    with pytest.raises(ValueError, match="not a line of MONITOR"):
        parse(b"+OK\r\n")


def test_what_a_reader_asks() -> None:
    """A take is kept without its acknowledgements; what a reader asks at its end is not kept."""
    keys = [b"key", b"bell", b"claims", b"leaves"]
    reader = [
        [b"BZPOPMIN", b"nudge", b"bell", b"5"],
        [b"EVALSHA", b"5ha", b"4", *keys, b"8", b"60", b"60", b"2", b"1.5", b"2.5", b"leave"],
        [b"ZREMRANGEBYSCORE", b"claims", b"-inf", b"(0"],
    ]
    wait, take, farewell = steps_of([Sent(0, "reader", command) for command in reader])
    assert wait is not None
    assert wait.role == "wait"
    assert take is not None
    assert take.words == [b"EVALSHA", b"5ha", b"4", *keys, b"8", b"60", b"60"]
    assert farewell is None


def test_what_is_sent() -> None:
    """So many arrive as a call has messages, whatever else it says; a release is not kept."""
    message = OutgoingMessage("key", "bell", "counts", 100, 7, b"message")
    expected = ExpectedMembers("group", 86400, b"names")
    send = SendBatch(60, expected).command([[message, message], [message]])
    release = scripts.RELEASE.call(["key", "bell", "claims"], 60, 60, 1, b"1.5")
    commands = [
        [word if isinstance(word, bytes) else str(word).encode() for word in command]
        for command in (send, release)
    ]
    sent, released = steps_of([Sent(0, "one", command) for command in commands])
    assert sent is not None
    assert (sent.role, sent.words, sent.arrivals) == ("send", commands[0], 3)
    assert released is None


def test_greetings() -> None:
    """Commands in which a client identifies itself are left out."""
    hello, publish = steps_of(
        [Sent(0, "one", [b"HELLO", b"3"]), Sent(0, "one", [b"PUBLISH", b"topic", b"text"])]
    )
    assert hello is None
    assert publish == Step("send", ["PUBLISH", "topic", "text"], 1)


def test_subscriptions() -> None:
    """The server confirms each name by itself."""
    [subscribe] = steps_of([Sent(0, "one", [b"SUBSCRIBE", b"a", b"b"])])
    assert subscribe == Step("hear", ["SUBSCRIBE", "a", "b"], 2)


def test_recording_in_a_file(tmp_path: Path) -> None:
    """A recording that was saved is the same when it is loaded."""
    recording = Recording(sends(1), [Step("send", [EVERY_BYTE.decode("latin-1")])], 7, 1.5)
    recording.save(tmp_path / "recording")
    assert Recording.load(tmp_path / "recording") == recording


def test_units() -> None:
    """A unit ends when so much has to arrive."""
    assert [unit.arrivals for unit in units_of(sends(1, 1, 1, 2, 1), 2)] == [2, 3, 1]


def test_pipelines() -> None:
    """Commands without a waiting caller go out in pipelines of 50."""
    [unit] = units_of(sends(*[1] * 120))
    assert [len(commands) for _, commands in unit.batches] == [50, 50, 20]


def test_subscriptions_are_waited_for() -> None:
    """A subscription ends the unit, its end does not."""
    words = (["SUBSCRIBE", "a"], ["UNSUBSCRIBE", "a"], ["SUBSCRIBE", "b"])
    steps = [Step("hear", list(command), 1) for command in words]
    assert [unit.arrivals for unit in units_of(steps)] == [1, 2]


def test_subscriptions_between_commands() -> None:
    """A subscription keeps its place among the commands."""
    steps = [*sends(1), Step("hear", ["UNSUBSCRIBE", "a"], 1), *sends(1, 1)]
    [unit] = units_of(steps)
    assert [(role, len(commands)) for role, commands in unit.batches] == [
        ("send", 1),
        ("hear", 1),
        ("send", 2),
    ]


def test_undoing() -> None:
    """Subscriptions that a pass leaves are undone before the next one."""
    steps = [Step("hear", ["SUBSCRIBE", "a", "b", "c"], 3), Step("hear", ["UNSUBSCRIBE", "b"])]
    assert undoing(steps).batches == [("hear", [[b"UNSUBSCRIBE", b"a", b"c"]])]
    assert not undoing(sends(1)).batches


async def test_failed_reader() -> None:
    """Waiting for a reader that has failed raises its error."""

    async def read() -> None:
        raise ConnectionError("it ended")

    arrivals = Arrivals()
    reading = asyncio.ensure_future(read())
    reading.add_done_callback(arrivals.end)
    with pytest.raises(ConnectionError, match="it ended"):
        await arrivals.until(1)


@pytest.mark.parametrize(
    ("contender", "work", "parameters"),
    [
        ("queue", "one-in-flight", {}),
        ("queue", "workers", {"workers": 1}),
        ("pubsub", "churn", {}),
    ],
)
def test_does_the_same_work(
    tmp_path: Path, contender: str, work: str, parameters: dict[str, int]
) -> None:
    """The server runs as many commands for the raw client as for the layer."""
    python, file = Path(sys.executable), tmp_path / "recording"
    with EmbeddedServer() as server:
        service = RedisService([server], [server.url])
        with recorder(server) as listening:
            job = Job(contender, service.hosts, work, parameters, seconds=0.05)
            done = run(job, python, service, timeout=20, on_mark=listening.mark)
            listening.recording(done["calls"]).save(file)
        more = {**parameters, "work": work, "recording": str(file)}
        again = Job(contender, service.hosts, "replay", more, seconds=0.05)
        figures = run(again, python, service, timeout=20)
    require_same_work(done["calls"], figures["calls"])


def test_other_work_than_recorded() -> None:
    """A replay that was other work for the server is an error, not a figure."""
    require_same_work(10, 10.9)
    with pytest.raises(Failed, match=r"not the same work: 8\.00 commands"):
        require_same_work(10, 8)
