"""Records what a layer's clients send to a server while they do a work, to be sent again raw."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.survey.trial import Job
    from embedded_server import EmbeddedServer

REPOSITORY = Path(__file__).parents[3]
LUA = REPOSITORY / "packages/channels-redis-queue/src/channels_redis_queue/lua"
LAST = b"that was all"

LINE = re.compile(rb"\+(?P<at>\d+\.\d+) \[\d+ (?P<client>[^\]]+)\] (?P<command>.*)\r\n", re.DOTALL)
ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
SHORT = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

# What a client says about itself: a raw one has words of its own.
GREETINGS = {b"HELLO", b"CLIENT", b"AUTH", b"SELECT", b"PING"}
# Of a take: the word, the script, the number of keys, the keys, and how many messages to take, how
# long they and claims live. What follows is an answer to what the take before it has brought.
TAKE_KEYS = 3
TAKE_SAYS = 3 + TAKE_KEYS + 3
# Of a send's arguments: those before the bodies, of which the last is one text; and the words of
# each message in that text.
SEND_SAYS = 4
WORDS_OF_A_MESSAGE = 3


class Sent(NamedTuple):
    """A command that a server has executed, its time, and its client."""

    at: float
    client: str
    command: list[bytes]

    @property
    def by_script(self) -> bool:
        """True if a script has called it, not a client."""
        return self.client == "lua"


def parse(line: bytes) -> Sent:
    """Read a line that MONITOR has written.

    Raises:
        ValueError: It is none.
    """
    parts = LINE.fullmatch(line)
    if parts is None:
        raise ValueError(f"not a line of MONITOR: {line[:100]!r}")
    arguments = [ESCAPE.sub(_unescaped, one) for one in ARGUMENT.findall(parts["command"])]
    return Sent(float(parts["at"]), parts["client"].decode(), arguments)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    what = escape[1]
    return bytes([int(what[1:], 16)]) if len(what) > 1 else SHORT.get(what, what)


@dataclass(frozen=True)
class Step:
    """A command to send again.

    Args:
        role: "send" for what is sent on the command connection, "wait" and "take" for what a reader
            of the queue layer asks, "hear" for subscriptions.
        command: Its words, each byte as one character. A take's end before the acknowledgements.
        arrivals: How much comes to the reading connection by it: messages, or confirmations.
    """

    role: str
    command: list[str]
    arrivals: int = 0

    @property
    def words(self) -> list[bytes]:
        """The words of the command as bytes."""
        return [word.encode("latin-1") for word in self.command]


@dataclass(frozen=True)
class Recording:
    """The commands of the clients: before the work, and in it.

    Args:
        operations: How many of its operations the work has done meanwhile.
        calls: How many commands the server has run for one of these, those of scripts included.
    """

    setup: list[Step]
    work: list[Step]
    operations: int
    calls: float

    def save(self, file: Path) -> None:
        """Write it to a JSON file."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def of(cls, job: Job) -> Recording:
        """Read what a job is to send again."""
        return cls.load(Path(job.parameters["recording"]))

    @classmethod
    def load(cls, file: Path) -> Recording:
        """Read what `save` wrote."""
        read = json.loads(file.read_text(encoding="utf-8"))
        steps = {name: [Step(**step) for step in read[name]] for name in ("setup", "work")}
        return cls(**{**read, **steps})


class Recorder:
    """Records all commands of a server, and when the work begins and ends."""

    def __init__(self, server: EmbeddedServer, lines: Iterator[bytes]) -> None:
        self._server = server
        self._lines = lines
        self._marks: dict[str, float] = {}

    def mark(self, what: str) -> None:
        """Note the time of "begin" or "end"; no client sends anything just then."""
        self._marks[what] = time.time()

    def recording(self, calls: float) -> Recording:
        """Return what was recorded up to now.

        Args:
            calls: How many commands the server has run for one operation of the work.
        """
        with self._server.client() as client:
            client.echo(LAST)
        everything: list[Sent] = []
        for line in self._lines:
            sent = parse(line)
            if sent.command[-1] == LAST:
                break
            # Connections through the UNIX socket are not clients of the layer.
            if not sent.client.startswith("unix:") and sent.at <= self._marks["end"]:
                everything.append(sent)
        begin = self._marks["begin"]
        inside = sum(sent.at >= begin for sent in everything)
        commands = [sent for sent in everything if not sent.by_script]
        steps = list(zip(commands, steps_of(commands), strict=True))
        return Recording(
            [step for sent, step in steps if step is not None and sent.at < begin],
            [step for sent, step in steps if step is not None and sent.at >= begin],
            round(inside / calls),
            calls,
        )


@contextlib.contextmanager
def recorder(server: EmbeddedServer) -> Iterator[Recorder]:
    """Record the commands of a server until the block ends."""
    # The server keeps what is not read yet.
    with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rb") as lines:
        monitor.connect(server.unix_socket)
        monitor.sendall(b"MONITOR\r\n")
        lines.readline()
        yield Recorder(server, lines)


def steps_of(commands: Sequence[Sent]) -> Iterable[Step | None]:
    """Yield for each command what to send again, None for what a raw client has no use for."""
    readers = {sent.client for sent in commands if sent.command[0] == b"BZPOPMIN"}
    send, release = _call_of("send"), _call_of("release")
    for sent in commands:
        # Nothing is given back: raw, there is a taker for each message.
        if sent.command[0] in GREETINGS or sent.command[:2] == release:
            yield None
        elif sent.client in readers:
            yield _asked(sent.command)
        else:
            yield _sent(sent.command, send)


def _call_of(script: str) -> list[bytes]:
    """Return the words with which each call of a script begins."""
    source = (LUA / f"{script}.lua").read_bytes()
    return [b"EVALSHA", hashlib.sha1(source).hexdigest().encode()]  # noqa: S324 - Redis's name


def _asked(command: list[bytes]) -> Step | None:
    """Return what to send again of what a reader asked."""
    if command[0] == b"BZPOPMIN":
        return Step("wait", _text(command))
    # What else it asks, it asks at its end or after a fault.
    is_take = command[0].startswith(b"EVAL") and int(command[2]) == TAKE_KEYS
    return Step("take", _text(command[:TAKE_SAYS])) if is_take else None


def _sent(command: list[bytes], send: list[bytes]) -> Step:
    """Return what to send again of what came on a command connection, or one for subscriptions."""
    if command[0] in {b"SUBSCRIBE", b"UNSUBSCRIBE"}:
        return Step("hear", _text(command), len(command) - 1)
    arrivals = 0
    if command[0] == b"PUBLISH":
        arrivals = 1
    elif command[:2] == send:
        says = command[3 + int(command[2]) :]
        arrivals = len(says[SEND_SAYS - 1].split()) // WORDS_OF_A_MESSAGE
    return Step("send", _text(command), arrivals)


def _text(command: Iterable[bytes]) -> list[str]:
    return [word.decode("latin-1") for word in command]
