"""The planned work, its parameters and its contenders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.survey.contenders import CONTENDERS, Contender

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SMALL = 100  # bytes of text in a message, where nothing else is said
BEFORE = {"queue": "queue-4.3", "pubsub": "pubsub-4.3"}
BARE = {"queue": "bare-queue", "pubsub": "bare-pubsub"}
ALL = tuple(name for name, one in CONTENDERS.items() if one.backend and not one.python)
REDIS = tuple(name for name in ALL if CONTENDERS[name].server == "redis")
OURS = tuple(name for name in ALL if CONTENDERS[name].ours)
WORK_QUEUES = tuple(name for name in ALL if CONTENDERS[name].work_queue)
# Those of `beside_peers`: ours, ours on another Python, and what is no channel layer.
PEERS = tuple(name for name, one in CONTENDERS.items() if one.ours or one.site != Contender.site)

TITLES = {
    "one-in-flight": "One message in flight: send, until the waiting consumer has it",
    "many-channels": "50 senders to 50 channels, each one message after the other",
    "fan-out": "group_send to a group, one after the other",
    "broadcasts": "50 concurrent group_send to 20 members",
    "sockets": "group_send to WebSockets behind real servers, until all browsers have it",
    "churn": "Consumers come and go, 20 at a time: new_channel, group_add, group_discard",
    "workers": "Worker processes read one general channel",
    "synchronous": "async_to_sync(layer.group_send) from code without an event loop",
    "idle": "Consumers that wait",
}


@dataclass(frozen=True)
class Cell:
    """A work with a set of parameters, and its contenders.

    Args:
        work: One of `TITLES`.
        parameters: What distinguishes it from the work's other cells: `payload` in bytes,
            `encrypted`, `shards`, `cluster`, `members`, `processes`, `mixed`, `broadcast`,
            `workers`, `threads`.
        contenders: The names of those that it is measured on.
        quick: Whether it is part of a quick run.
    """

    work: str
    parameters: Mapping[str, Any]
    contenders: tuple[str, ...] = ALL
    quick: bool = False

    def runs(self, only: Contender) -> bool:
        """Return whether this contender is measured on it."""
        return only.name in self.contenders


def cells() -> Iterator[Cell]:
    """Yield all there is to measure, each work's basic cell first."""
    yield from _direct()
    yield from _groups()
    yield from _sockets()
    yield Cell("churn", {}, (*ALL, *BARE.values()), quick=True)
    yield Cell("workers", {"workers": 1}, (*WORK_QUEUES, BARE["queue"]), quick=True)
    for workers in (2, 4):
        yield Cell("workers", {"workers": workers}, WORK_QUEUES, quick=workers == 4)
    for threads in (1, 16):
        yield Cell("synchronous", {"threads": threads}, quick=threads == 1)
    yield Cell("idle", {})


def beside_peers() -> Iterator[Cell]:
    """Yield what compares broadcasts with servers that are no channel layers."""
    yield Cell("sockets", {"members": 1_000, "processes": 1, "broadcast": True}, PEERS, quick=True)


def _direct() -> Iterator[Cell]:
    yield Cell("one-in-flight", {}, (*ALL, *BARE.values()), quick=True)
    for payload in (10_000, 1_000_000):
        yield Cell("one-in-flight", {"payload": payload})
    yield Cell("one-in-flight", {"encrypted": True}, REDIS)
    yield Cell("one-in-flight", {"cluster": True}, OURS)
    yield Cell("many-channels", {}, (*ALL, *BARE.values()), quick=True)
    yield Cell("many-channels", {"payload": 10_000})
    yield Cell("many-channels", {"encrypted": True}, REDIS)
    for shards in (3, 8):
        yield Cell("many-channels", {"shards": shards}, REDIS)
    yield Cell("many-channels", {"cluster": True}, OURS)


def _groups() -> Iterator[Cell]:
    for members in (1, 10, 100, 1_000, 10_000):
        for processes in (1, 4, 8):
            if members < processes:
                continue
            yield Cell(
                "fan-out",
                {"members": members, "processes": processes},
                quick=(members, processes) in {(100, 1), (1_000, 4)},
            )
    hundred = {"members": 100, "processes": 1}
    for payload in (10_000, 1_000_000):
        yield Cell("fan-out", {**hundred, "payload": payload})
    yield Cell("fan-out", {**hundred, "encrypted": True}, REDIS)
    yield Cell("fan-out", {**hundred, "cluster": True}, OURS)
    yield Cell("broadcasts", {}, quick=True)
    for shards in (3, 8):
        yield Cell("broadcasts", {"shards": shards}, REDIS)
    yield Cell("broadcasts", {"cluster": True}, OURS)


def _sockets() -> Iterator[Cell]:
    for members in (1_000, 10_000):
        for processes in (1, 4):
            group = {"members": members, "processes": processes}
            quick = (members, processes) == (1_000, 1)
            yield Cell("sockets", group, quick=quick)
            yield Cell("sockets", {**group, "broadcast": True}, OURS, quick=quick)
