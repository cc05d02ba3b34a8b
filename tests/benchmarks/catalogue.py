"""The measured work, its layers, and the ratios that ours must reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import counted, foreign, synchronous, workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from benchmarks.measuring import Bench

    Run = Callable[[Bench], Coroutine[None, None, None] | None]

THEIRS = {
    "queue": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
OURS = {
    "queue": "channels_redis_queue.RedisChannelLayer",
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
}


@dataclass(frozen=True)
class AtLeast:
    """Ours is at least so many times better than theirs."""

    ratio: float

    def holds(self, ratio: float, _ours: float) -> bool:
        """Return whether a median ratio is good enough."""
        return ratio >= self.ratio

    def __str__(self) -> str:
        return f"{self.ratio:g}x"


@dataclass(frozen=True)
class Under:
    """Our own figure is under a limit, whatever theirs is."""

    limit: float

    def holds(self, _ratio: float, ours: float) -> bool:
        """Return whether our median figure is good enough."""
        return ours < self.limit

    def __str__(self) -> str:
        return f"< {self.limit:g}"


Floor = AtLeast | Under


@dataclass(frozen=True)
class Work:
    """A piece of work, its unit, and the floor on each layer.

    The unit is "ms" or "msg/s" for work that is timed; anything else is a count. Work that takes
    long on their side, or comes out the same each time, is repeated no more than `most_rounds`.
    """

    name: str
    title: str
    run: Run
    unit: str
    floors: Mapping[str, Floor]
    most_rounds: int = 1_000


CATALOGUE = (
    Work(
        "latency",
        "send until the waiting receiver has it, one in flight",
        workloads.latency,
        "ms",
        {"queue": AtLeast(2.5), "pubsub": AtLeast(1.15)},
    ),
    Work(
        "send-receive",
        "send, then receive, one in flight",
        workloads.send_then_receive,
        "ms",
        {"queue": AtLeast(2.5), "pubsub": AtLeast(1.15)},
    ),
    Work(
        "many-channels",
        "50 senders to 50 channels, 10,000 messages",
        workloads.many_channels,
        "msg/s",
        {"queue": AtLeast(22), "pubsub": AtLeast(9)},
        most_rounds=3,
    ),
    Work(
        "group-1",
        "group_send to 1 member here",
        workloads.group_send(members=1, sends=200),
        "ms",
        {"queue": AtLeast(2)},
    ),
    Work(
        "group-100",
        "group_send to 100 members here",
        workloads.group_send(members=100, sends=50),
        "ms",
        {"queue": AtLeast(5), "pubsub": AtLeast(1.3)},
    ),
    Work(
        "group-1000",
        "group_send to 1,000 members here",
        workloads.group_send(members=1_000, sends=10),
        "ms",
        {"queue": AtLeast(11), "pubsub": AtLeast(1.6)},
    ),
    Work(
        "concurrent-groups",
        "50 concurrent group_send to 20 members",
        workloads.concurrent_group_send,
        "ms",
        {"queue": AtLeast(13), "pubsub": AtLeast(6)},
    ),
    Work(
        "churn",
        "new_channel, group_add, group_discard, 20 at a time",
        workloads.churn,
        "ms",
        {"queue": AtLeast(2), "pubsub": AtLeast(1.2)},
    ),
    Work(
        "drain",
        "one receiver drains a general channel",
        workloads.drain,
        "msg/s",
        {"queue": AtLeast(4)},
    ),
    Work(
        "group-bytes",
        "group_send to 10,000 members here: bytes at server",
        counted.group_send_bytes,
        "bytes",
        {"queue": Under(3 * 1024)},
        most_rounds=1,
    ),
    Work(
        "group-calls",
        "group_send to 10,000 members here: calls at server",
        counted.group_send_calls,
        "calls",
        {"queue": Under(20)},
        most_rounds=1,
    ),
    Work(
        "delivery-bytes",
        "the same until all have it: bytes at server",
        counted.delivery_bytes,
        "bytes",
        {"queue": Under(3 * 1024)},
        most_rounds=1,
    ),
    Work(
        "other-processes",
        "group_send to 100 other processes, 10 members each",
        foreign.group_send_to_other_processes,
        "ms",
        {"queue": AtLeast(2)},
    ),
    Work(
        "sync",
        "async_to_sync(group_send), 1,000 calls, 1 thread",
        synchronous.from_synchronous_code,
        "ms",
        {"queue": AtLeast(3), "pubsub": AtLeast(3)},
        most_rounds=3,
    ),
    Work(
        "sync-threads",
        "async_to_sync(group_send), 1,000 calls, 16 threads",
        synchronous.from_16_threads,
        "ms",
        {"queue": AtLeast(3), "pubsub": AtLeast(3)},
        most_rounds=3,
    ),
    Work(
        "sync-run",
        "asyncio.run(group_send), 1,000 calls",
        synchronous.from_a_loop_for_each_call,
        "ms",
        {"queue": AtLeast(4), "pubsub": AtLeast(4)},
        most_rounds=3,
    ),
    Work(
        "sync-cost",
        "such a call / async_to_sync of doing nothing",
        synchronous.beside_doing_nothing,
        "times",
        {"queue": Under(2.0), "pubsub": Under(1.6)},
        most_rounds=2,
    ),
)


def works(layers: list[str], only: list[str] | None = None) -> list[tuple[str, Work]]:
    """Return the work measured on these layers, each piece with its layer; all, or those named.

    Raises:
        ValueError: A name stands for no work on any of these layers.
    """
    found = [(layer, work) for layer in layers for work in CATALOGUE if layer in work.floors]
    names = {work.name: None for _, work in found}
    for name in only or ():
        if name not in names:
            message = f"no work named {name!r} here; there are: {', '.join(names)}"
            raise ValueError(message)
    return [(layer, work) for layer, work in found if work.name in (only or names)]
