"""OpenTelemetry metrics of the statistics, read by its real SDK in a separate process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_queue._shared.ops.opentelemetry import COUNTERS, STATES
from ops.conftest import PUBSUB, QUEUE
from support.programs import run

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

PROGRAM = Path(__file__).parent / "exporting.py"
LAYERS = [QUEUE, PUBSUB]
CURRENT = {
    "messaging.redis.groups",
    "messaging.redis.mailboxes",
    "messaging.redis.waiting.messages",
}


def values(metric: Any) -> dict[str | None, float]:
    """Return the values of a metric, by the reason for which messages are dropped."""
    return {
        point["attributes"].get("messaging.redis.drop.reason"): point["value"]
        for point in metric["data"]["data_points"]
    }


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("layer", LAYERS)
def test_metrics(layer: str, when: str, redis_server: EmbeddedServer) -> None:
    """Two layers with one prefix are added up; a fork's child counts from zero.

    It does not matter whether the site sets its provider before or after it has layers.
    """
    done = run(str(PROGRAM), layer, redis_server.url, when)
    read: list[dict[str, Any]] = []
    for line in done.out.splitlines():
        (scope,) = json.loads(line)["resource_metrics"][0]["scope_metrics"]
        assert scope["scope"]["name"] == layer.partition(".")[0]
        read.append({metric["name"]: metric for metric in scope["metrics"]})
    found, in_child = read
    assert found.keys() == {metric.name for metric in (*COUNTERS, *STATES)}
    current = {name for name, metric in found.items() if not metric["data"]["is_monotonic"]}
    assert current == CURRENT
    assert found["messaging.redis.outage.time"]["unit"] == "s"
    (sent,) = found["messaging.client.sent.messages"]["data"]["data_points"]
    assert sent["attributes"].pop("messaging.redis.prefix").startswith("telemetry-")
    assert sent["value"] == 4
    assert sent["attributes"] == {
        "messaging.system": "redis",
        "messaging.operation.name": "send",
        "messaging.redis.layer": layer.rpartition(".")[2],
    }
    assert values(found["messaging.client.consumed.messages"]) == {None: 2}
    reasons = ("capacity", "expired", "undecodable", "mailbox_full")
    assert values(found["messaging.redis.dropped.messages"]) == dict.fromkeys(reasons, 0)
    assert values(found["messaging.redis.commands"])[None] >= 4
    assert values(in_child["messaging.client.sent.messages"]) == {None: 0}


@pytest.mark.parametrize("layer", LAYERS)
def test_without_opentelemetry(layer: str) -> None:
    """Without it, layers work, and have statistics."""
    module, _, name = layer.rpartition(".")
    code = (
        "import sys; sys.modules['opentelemetry'] = None; "
        f"from {module} import {name}; print({name}().statistics().sent)"
    )
    assert run("-c", code).out == "0\n"
