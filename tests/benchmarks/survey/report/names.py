"""What contenders and parameters are called in tables and plots, and who is compared with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.survey.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NO_BREAK = "\N{NO-BREAK SPACE}"
SIZES = ((1_000_000, "MB"), (1_000, "kB"), (1, "bytes"))

# Everywhere in this order: each kind's three beside each other.
SHORT = {
    "queue": "queue",
    "queue-4.3": "queue 4.3.0",
    "raw-queue": "raw queue",
    "pubsub": "Pub/Sub",
    "pubsub-4.3": "Pub/Sub 4.3.0",
    "raw-pubsub": "raw Pub/Sub",
    "nats": "NATS",
    "memory": "in memory",
}
OURS = ("queue", "pubsub")
BEFORE = {"queue": "queue-4.3", "pubsub": "pubsub-4.3"}
RAW = {"queue": "raw-queue", "pubsub": "raw-pubsub"}
_RAW_TITLES = {
    "raw-queue": "redis-py alone, with the commands of the queue layer, pipelined",
    "raw-pubsub": "redis-py alone, with the commands of the Pub/Sub layer, pipelined",
}


def short(contender: str) -> str:
    """Return what a contender is called where there is little room."""
    return SHORT.get(contender, contender)


def title(contender: str) -> str:
    """Return what a contender is."""
    if contender in CONTENDERS:
        return CONTENDERS[contender].title
    return _RAW_TITLES.get(contender, contender)


def layer_class(contender: str) -> str:
    """Return the dotted name of a contender's layer, nothing if it is none."""
    return CONTENDERS[contender].layer if contender in CONTENDERS else ""


def in_order(contenders: Iterable[str]) -> list[str]:
    """Sort contenders as they are listed everywhere; unknown ones come last."""
    places = {name: place for place, name in enumerate(SHORT)}
    return sorted(set(contenders), key=lambda name: (places.get(name, len(places)), name))


def with_parameters(parameters: Mapping[str, Any]) -> str:
    """Say what distinguishes a cell from the work's others; "plain" if nothing does."""
    said = [_parameter(name, value) for name, value in parameters.items()]
    return ", ".join(filter(None, said)) or "plain"


def _parameter(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return {"encrypted": "encrypted", "cluster": "Redis Cluster"}.get(name, name) * value
    if name == "payload":
        size, unit = next(one for one in SIZES if value >= one[0])
        return f"messages of {value / size:g}{NO_BREAK}{unit}"
    # All others count something that the name says: members, processes, shards.
    singular = name.removesuffix("es" if name == "processes" else "s")
    return f"{value:,}{NO_BREAK}{singular if value == 1 else name}"
