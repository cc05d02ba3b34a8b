"""Uses two layers of one kind, and prints what the real OpenTelemetry SDK read of them, as JSON.

Its arguments are the import path of the layer's class, a URL, and "before" or "after": when the
site sets its provider, seen from the first layer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from django.utils.module_loading import import_string
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()


def read() -> dict[str, Any]:
    """Return what the SDK reads: of each metric its unit, whether it only grows, its values."""
    data = reader.get_metrics_data()
    found: dict[str, Any] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points: Any = metric.data
                found[metric.name] = {
                    "scope": scope.scope.name,
                    "unit": metric.unit,
                    "grows": points.is_monotonic,
                    "values": [
                        {**point.attributes, "value": point.value} for point in points.data_points
                    ],
                }
    return found


async def use(layer: Any) -> None:
    """Send two messages, one to a group, and receive one."""
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.send(channel, {"type": "one"})
    await layer.group_send("room", {"type": "two"})
    await layer.receive(channel)
    await layer.close_pools()


def main() -> None:
    """Use layers, read, and read again in a fork's child."""
    path, url, when = sys.argv[1:]
    provider = MeterProvider(metric_readers=[reader])
    if when == "before":
        metrics.set_meter_provider(provider)
    layers = [import_string(path)([url], prefix=f"telemetry-{os.getpid()}-") for _ in range(2)]
    if when == "after":
        metrics.set_meter_provider(provider)
    for layer in layers:
        asyncio.run(use(layer))
    print(json.dumps(read()), flush=True)
    if os.fork() == 0:
        print(json.dumps(read()), flush=True)
        os._exit(0)
    os.wait()


main()
