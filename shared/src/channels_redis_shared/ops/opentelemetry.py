"""Shows the statistics of layers to OpenTelemetry, where its API is installed."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..concurrency.process_local import ProcessLocal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from .statistics import Statistics


class Observed(Protocol):
    """A layer."""

    prefix: str

    def statistics(self) -> Statistics:
        """Return what it has done, and has now."""


class Metric(NamedTuple):
    """A number, by its name in the semantic conventions, and how it is read.

    What these do not name is in `messaging.redis`, the place that they give to a system's own.
    """

    name: str
    unit: str
    description: str
    read: Callable[[Statistics], float]
    attributes: Mapping[str, str]
    # Whether it only grows.
    total: bool = True


def _dropped(reason: str) -> Metric:
    return Metric(
        "messaging.redis.dropped.messages",
        "{message}",
        "Messages that were dropped.",
        lambda found: int(getattr(found.dropped, reason)),
        {"messaging.redis.drop.reason": reason},
    )


METRICS = (
    Metric(
        "messaging.client.sent.messages",
        "{message}",
        "Number of messages producer attempted to send to the broker.",
        lambda found: found.sent,
        {"messaging.operation.name": "send"},
    ),
    Metric(
        "messaging.client.consumed.messages",
        "{message}",
        "Number of messages that were delivered to the application.",
        lambda found: found.received,
        {"messaging.operation.name": "receive"},
    ),
    *map(_dropped, ("capacity", "expired", "undecodable", "mailbox_full")),
    Metric(
        "messaging.redis.broadcasts",
        "{message}",
        "Messages that went straight to a WebSocket.",
        lambda found: found.broadcasts,
        {},
    ),
    Metric(
        "messaging.redis.reconnects",
        "{connection}",
        "Connections that took the place of a lost one.",
        lambda found: found.reconnects,
        {},
    ),
    Metric(
        "messaging.redis.outage.time",
        "s",
        "How long some host could not be received from.",
        lambda found: found.outage_seconds,
        {},
    ),
    Metric(
        "messaging.redis.commands",
        "{command}",
        "Commands sent to the servers.",
        lambda found: found.commands,
        {},
    ),
    Metric(
        "messaging.redis.round_trips",
        "{write}",
        "Writes that the commands went out in.",
        lambda found: found.round_trips,
        {},
    ),
    Metric(
        "messaging.redis.mailboxes",
        "{channel}",
        "Channels with messages or a waiting receiver.",
        lambda found: found.mailboxes,
        {},
        total=False,
    ),
    Metric(
        "messaging.redis.waiting.messages",
        "{message}",
        "Messages in the process that were not received yet.",
        lambda found: found.waiting,
        {},
        total=False,
    ),
    Metric(
        "messaging.redis.groups",
        "{group}",
        "Groups with members in the process.",
        lambda found: found.groups,
        {},
        total=False,
    ),
)

# Layers, not what they have in one process: in a fork's child they count anew.
_layers: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = ProcessLocal(threading.Lock)


def observe(layer: Observed) -> None:
    """Let OpenTelemetry read a layer's statistics for as long as there is the layer."""
    try:
        from opentelemetry import metrics  # noqa: PLC0415 - few have it
    except ImportError:
        return
    with _lock.get():
        first = not _layers
        _layers.add(layer)
    if first and not _instruments:
        # A provider that the site sets later gets them as well.
        _instruments.extend(_instruments_of(metrics.get_meter(__name__.partition(".")[0])))


_instruments: list[Any] = []


def _instruments_of(meter: Meter) -> list[Any]:
    """Return an instrument for each name."""
    by_name: dict[str, list[Metric]] = {}
    for metric in METRICS:
        by_name.setdefault(metric.name, []).append(metric)
    return [
        (
            meter.create_observable_counter
            if same[0].total
            else meter.create_observable_up_down_counter
        )(name, [_reader(same)], same[0].unit, same[0].description)
        for name, same in by_name.items()
    ]


def _reader(same: list[Metric]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    from opentelemetry.metrics import Observation  # noqa: PLC0415 - it is there by now

    def read(_: CallbackOptions) -> Iterable[Observation]:
        with _lock.get():
            layers = list(_layers)
        sums: dict[tuple[tuple[str, str], ...], float] = {}
        for layer in layers:
            found = layer.statistics()
            for metric in same:
                # Of two observations with equal attributes, one would be lost.
                key = tuple(_attributes(layer, metric).items())
                sums[key] = sums.get(key, 0) + metric.read(found)
        return [Observation(value, dict(key)) for key, value in sums.items()]

    return read


def _attributes(layer: Observed, metric: Metric) -> dict[str, str]:
    return {
        "messaging.system": "redis",
        "messaging.redis.layer": type(layer).__name__,
        "messaging.redis.prefix": layer.prefix,
        **metric.attributes,
    }
