"""Report the statistics of layers to OpenTelemetry, if its API is installed."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..brokers import ProcessLocal
from .statistics import Dropped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import CallbackOptions, Observation


class Metric(NamedTuple):
    """A metric, and the field of `Statistics` that it reports and that describes it.

    Metrics without a name in the semantic conventions are in `messaging.redis`, the namespace that
    these leave to a system's own.
    """

    name: str
    unit: str
    field: str
    # As the conventions call what it counts; empty for metrics of our own.
    operation: str = ""


COUNTERS = (
    Metric("messaging.client.sent.messages", "{message}", "sent", "send"),
    Metric("messaging.client.consumed.messages", "{message}", "received", "receive"),
    Metric("messaging.redis.dropped.messages", "{message}", "dropped"),
    Metric("messaging.redis.broadcasts", "{message}", "broadcasts"),
    Metric("messaging.redis.replayed", "{message}", "replayed"),
    Metric("messaging.redis.unrecovered", "{gap}", "unrecovered"),
    Metric("messaging.redis.reconnects", "{connection}", "reconnects"),
    Metric("messaging.redis.outage.time", "s", "outage_seconds"),
    Metric("messaging.redis.commands", "{command}", "commands"),
    Metric("messaging.redis.round_trips", "{write}", "round_trips"),
)
# What may fall as well.
STATES = (
    Metric("messaging.redis.mailboxes", "{channel}", "mailboxes"),
    Metric("messaging.redis.waiting.messages", "{message}", "waiting"),
    Metric("messaging.redis.groups", "{group}", "groups"),
)

# Layers rather than their brokers: in a fork's child they have new ones.
_layers: weakref.WeakSet[Any] = weakref.WeakSet()
_instruments: list[Any] = []
_lock = ProcessLocal(threading.Lock)


def observe(layer: Any) -> None:
    """Report a layer's statistics for as long as the layer exists."""
    try:
        from opentelemetry import metrics  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return
    with _lock.get():
        _layers.add(layer)
        if _instruments:
            return
        # A provider that is set later gets these as well.
        meter = metrics.get_meter(__name__.partition(".")[0])
        for create, table in (
            (meter.create_observable_counter, COUNTERS),
            (meter.create_observable_up_down_counter, STATES),
        ):
            for metric in table:
                text = f"{metric.field} of layer.statistics()"
                callback = partial(_read, metric)
                _instruments.append(create(metric.name, [callback], metric.unit, text))


def _read(metric: Metric, _: CallbackOptions) -> Iterable[Observation]:
    from opentelemetry.metrics import Observation  # noqa: PLC0415 - an optional dependency

    with _lock.get():
        layers = list(_layers)
    # Summed, as the SDK keeps one of two observations with equal attributes.
    sums: Counter[tuple[str, ...]] = Counter()
    for layer in layers:
        value = getattr(layer.statistics(), metric.field)
        by_reason = asdict(value) if isinstance(value, Dropped) else {"": value}
        for reason, count in by_reason.items():
            sums["redis", type(layer).__name__, layer.prefix, metric.operation, reason] += count
    names = (
        "messaging.system",
        "messaging.redis.layer",
        "messaging.redis.prefix",
        "messaging.operation.name",
        "messaging.redis.drop.reason",
    )
    for values, count in sums.items():
        attributes = {name: one for name, one in zip(names, values, strict=True) if one}
        yield Observation(count, attributes)
