"""Report the statistics of layers to OpenTelemetry, if its API is installed."""

from __future__ import annotations

import threading
import weakref
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..brokers import ProcessLocal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from .statistics import Statistics


class ObservedLayer(Protocol):
    """The part of a layer that is observed."""

    prefix: str

    def statistics(self) -> Statistics:
        """Return the layer's statistics in this process."""


class Metric(NamedTuple):
    """A metric, and the attribute of `Statistics` that it reports.

    Metrics without a name in the semantic conventions are in `messaging.redis`, the namespace that
    these leave to a system's own.
    """

    name: str
    unit: str
    description: str
    source: str
    attributes: Mapping[str, str] = {}
    is_counter: bool = True


def _dropped(reason: str) -> Metric:
    return Metric(
        "messaging.redis.dropped.messages",
        "{message}",
        "Messages that were dropped.",
        f"dropped.{reason}",
        {"messaging.redis.drop.reason": reason},
    )


METRICS = (
    Metric(
        "messaging.client.sent.messages",
        "{message}",
        "Number of messages producer attempted to send to the broker.",
        "sent",
        {"messaging.operation.name": "send"},
    ),
    Metric(
        "messaging.client.consumed.messages",
        "{message}",
        "Number of messages that were delivered to the application.",
        "received",
        {"messaging.operation.name": "receive"},
    ),
    *map(_dropped, ("capacity", "expired", "undecodable", "mailbox_full")),
    Metric(
        "messaging.redis.broadcasts",
        "{message}",
        "Messages that went straight to a WebSocket.",
        "broadcasts",
    ),
    Metric(
        "messaging.redis.replayed",
        "{message}",
        "Messages that were read from the history of a group.",
        "replayed",
    ),
    Metric(
        "messaging.redis.unrecovered",
        "{gap}",
        "Gaps that the history of a group could not close.",
        "unrecovered",
    ),
    Metric(
        "messaging.redis.reconnects",
        "{connection}",
        "Connections that replaced a lost one.",
        "reconnects",
    ),
    Metric(
        "messaging.redis.outage.time",
        "s",
        "How long a host was unreachable for receiving.",
        "outage_seconds",
    ),
    Metric(
        "messaging.redis.commands",
        "{command}",
        "Commands sent to the servers.",
        "commands",
    ),
    Metric(
        "messaging.redis.round_trips",
        "{write}",
        "Writes that carried the commands.",
        "round_trips",
    ),
    Metric(
        "messaging.redis.mailboxes",
        "{channel}",
        "Channels with messages or a waiting receiver.",
        "mailboxes",
        is_counter=False,
    ),
    Metric(
        "messaging.redis.waiting.messages",
        "{message}",
        "Messages in the process that have not been received yet.",
        "waiting",
        is_counter=False,
    ),
    Metric(
        "messaging.redis.groups",
        "{group}",
        "Groups with members in the process.",
        "groups",
        is_counter=False,
    ),
)

# Layers rather than their brokers: in a fork's child they have new ones.
_layers: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = ProcessLocal(threading.Lock)


def observe(layer: ObservedLayer) -> None:
    """Report a layer's statistics for as long as the layer exists."""
    try:
        from opentelemetry import metrics  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return
    with _lock.get():
        first = not _layers
        _layers.add(layer)
    if first and not _instruments:
        # A provider that is set later gets these as well.
        _instruments.extend(_instruments_of(metrics.get_meter(__name__.partition(".")[0])))


_instruments: list[Any] = []


def _instruments_of(meter: Meter) -> list[Any]:
    """Create an instrument for each name."""
    by_name: dict[str, list[Metric]] = {}
    for metric in METRICS:
        by_name.setdefault(metric.name, []).append(metric)
    return [
        (
            meter.create_observable_counter
            if same[0].is_counter
            else meter.create_observable_up_down_counter
        )(name, [_callback(same)], same[0].unit, same[0].description)
        for name, same in by_name.items()
    ]


def _callback(same: list[Metric]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    from opentelemetry.metrics import Observation  # noqa: PLC0415 - an optional dependency

    def read(_: CallbackOptions) -> Iterable[Observation]:
        with _lock.get():
            layers = list(_layers)
        sums: dict[tuple[tuple[str, str], ...], float] = {}
        for layer in layers:
            statistics = layer.statistics()
            for metric in same:
                # Summed, as the SDK keeps one of two observations with equal attributes.
                key = tuple(_attributes(layer, metric).items())
                sums[key] = sums.get(key, 0) + attrgetter(metric.source)(statistics)
        return [Observation(value, dict(key)) for key, value in sums.items()]

    return read


def _attributes(layer: ObservedLayer, metric: Metric) -> dict[str, str]:
    return {
        "messaging.system": "redis",
        "messaging.redis.layer": type(layer).__name__,
        "messaging.redis.prefix": layer.prefix,
        **metric.attributes,
    }
