"""Profile our layers' main paths, in their process and in the server."""

from __future__ import annotations

import collections
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.survey.limit import paths
from benchmarks.survey.running import Failed, run
from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.survey.services import RedisService

TIMEOUT = 30.0  # seconds for a work
SECONDS = 1.0  # of a work that are looked at
MOST = 10  # entries

# By the innermost place that the pattern finds: what the process does there.
PLACES = (
    (r"/selectors\.py:select$", "waiting for the server, in select"),
    (r"/selector_events\.py:_?(write|_send|writelines)\w*$", "writing to sockets"),
    (r"/selector_events\.py:_read_ready\w*$", "reading from sockets"),
    (r"-packages/redis/", "redis-py"),
    (r"-packages/channels/", "Channels: checks of names"),
    (r"/asyncio/", "asyncio: event loop, tasks, futures"),
    (r"/benchmarks/", "the work itself"),
    (r"/channels_redis_\w+/(?:\w+/)*(?P<module>\w+)\.py:", ""),
)
# Whose time holds that of what they call.
SCRIPTS = {"evalsha", "eval"}
# What clients send by themselves; in the queue layer, all else is sent by scripts.
ASKED = {*SCRIPTS, "bzpopmin", "publish", "subscribe", "unsubscribe"}


def profiles(pythons: Mapping[str, Path], redis: RedisService) -> Iterator[dict[str, Any]]:
    """Yield for each main path of our layers a profile of the client and one of the server.

    Args:
        pythons: The Python of each contender's environment.
        redis: One server.
    """
    for contender in ("queue", "pubsub"):
        if contender in pythons:
            for work, parameters in paths(contender):
                job = Job(contender, redis.hosts, work, parameters)
                yield from _profiles(job, pythons[contender], redis)


def _profiles(job: Job, python: Path, redis: RedisService) -> Iterator[dict[str, Any]]:
    about = {"contender": job.contender, "work": job.work, "parameters": dict(job.parameters)}
    usage = Usage(redis)
    with tempfile.TemporaryDirectory(prefix="stacks-") as folder:
        file = Path(folder) / "stacks"
        more = {**job.parameters, "work": job.work, "stacks": str(file)}
        sampled = Job(job.contender, job.hosts, "sample", more, seconds=SECONDS)
        try:
            run(sampled, python, redis, timeout=TIMEOUT, on_mark=usage.mark)
        except Failed as failure:
            yield {**about, "side": "client", "entries": [], "note": str(failure)}
            return
        stacks = file.read_text(encoding="utf-8")
    note = "is seen in the process that sends" if job.work == "workers" else ""
    yield {**about, "side": "client", "entries": shares(places(stacks)), "note": note}
    note = f"is busy {usage.busy * 100:.0f} % of the time"
    yield {**about, "side": "server", "entries": shares(usage.entries()), "note": note}


def places(stacks: str) -> dict[str, float]:
    """Return how often the process was seen doing what, from stacks as `sampling` writes them."""
    seen: collections.Counter[str] = collections.Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        seen[_what(stack)] += int(count)
    return dict(seen)


def _what(stack: str) -> str:
    for place in reversed(stack.split(";")):
        for pattern, what in PLACES:
            if found := re.search(pattern, place):
                return what or f"{found['module']}.py"
    return "else"


def shares(times: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the largest of these as shares of the whole, the largest first."""
    whole = sum(times.values()) or 1.0
    largest = sorted(times.items(), key=lambda item: -item[1])[:MOST]
    return [{"what": what, "share": round(time / whole, 3)} for what, time in largest]


class Usage:
    """A server's time between two marks, by command."""

    def __init__(self, redis: RedisService) -> None:
        self._redis = redis
        self._marks: dict[str, Mapping[str, Any]] = {}

    def mark(self, what: str) -> None:
        """Note what the server has spent up to "begin" or "end"."""
        with self._redis.servers[0].client() as client:
            self._marks[what] = client.info("everything")

    def entries(self) -> dict[str, float]:
        """Return the seconds that each command took, and what is no command's."""
        took = self._commands()
        by_scripts = {name: time for name, time in took.items() if name not in ASKED}
        scripts = sum(took.get(name, 0.0) for name in SCRIPTS)
        asked = {name: took[name] for name in ASKED - SCRIPTS if name in took}
        entries = {name.upper(): time for name, time in {**by_scripts, **asked}.items()}
        if scripts:
            entries["scripts, without their commands"] = max(scripts - sum(by_scripts.values()), 0)
        commands = scripts + sum(asked.values())
        entries["network and parsing, outside of commands"] = max(self._cpu() - commands, 0)
        return entries

    @property
    def busy(self) -> float:
        """The share of the time in which it used its CPU."""
        return self._cpu() / (self._grown("server_time_usec") / 1e6)

    def _commands(self) -> dict[str, float]:
        """Return the seconds that each command took, without those that only looking sends."""
        before, after = self._marks["begin"], self._marks["end"]
        took = {}
        for name, figures in after.items():
            command = name.removeprefix("cmdstat_")
            if command != name and not command.startswith(("info", "client", "script")):
                usec = figures["usec"] - before.get(name, {"usec": 0})["usec"]
                if usec:
                    took[command] = usec / 1e6
        return took

    def _cpu(self) -> float:
        return self._grown("used_cpu_sys") + self._grown("used_cpu_user")

    def _grown(self, name: str) -> float:
        return float(self._marks["end"][name] - self._marks["begin"][name])
