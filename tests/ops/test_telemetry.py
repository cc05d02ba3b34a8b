"""OpenTelemetry metrics of the statistics, read by its real SDK in a separate process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_queue._shared.ops.opentelemetry import COUNTERS, STATES
from support.programs import run

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

PROGRAM = Path(__file__).parent / "exporting.py"
LAYERS = {
    "channels_redis_queue.RedisChannelLayer": "channels_redis_queue",
    "channels_redis_pubsub.RedisPubSubChannelLayer": "channels_redis_pubsub",
}
CURRENT = {
    "messaging.redis.groups",
    "messaging.redis.mailboxes",
    "messaging.redis.waiting.messages",
}


def values(found: dict[str, Any], name: str) -> dict[str | None, float]:
    """Return the values of a metric, by the reason for which messages are dropped."""
    return {
        value.get("messaging.redis.drop.reason"): value["value"] for value in found[name]["values"]
    }


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("layer", LAYERS)
def test_metrics(layer: str, when: str, redis_server: EmbeddedServer) -> None:
    """Two layers with one prefix are added up; a fork's child counts from zero.

    It does not matter whether the site sets its provider before or after it has layers.
    """
    done = run(str(PROGRAM), layer, redis_server.url, when)
    found, in_child = map(json.loads, done.out.splitlines())
    assert found.keys() == {metric.name for metric in (*COUNTERS, *STATES)}
    assert {metric["scope"] for metric in found.values()} == {LAYERS[layer]}
    assert {name for name, metric in found.items() if not metric["grows"]} == CURRENT
    assert found["messaging.redis.outage.time"]["unit"] == "s"
    (sent,) = found["messaging.client.sent.messages"]["values"]
    assert sent.pop("messaging.redis.prefix").startswith("telemetry-")
    assert sent == {
        "messaging.system": "redis",
        "messaging.operation.name": "send",
        "messaging.redis.layer": layer.rpartition(".")[2],
        "value": 4,
    }
    assert values(found, "messaging.client.consumed.messages") == {None: 2}
    reasons = ("capacity", "expired", "undecodable", "mailbox_full")
    assert values(found, "messaging.redis.dropped.messages") == dict.fromkeys(reasons, 0)
    assert values(found, "messaging.redis.commands")[None] >= 4
    assert values(in_child, "messaging.client.sent.messages") == {None: 0}


@pytest.mark.parametrize("layer", LAYERS)
def test_without_opentelemetry(layer: str) -> None:
    """Without it, layers work, and have statistics."""
    module, _, name = layer.rpartition(".")
    code = (
        "import sys; sys.modules['opentelemetry'] = None; "
        f"from {module} import {name}; print({name}().statistics().sent)"
    )
    assert run("-c", code).out == "0\n"
