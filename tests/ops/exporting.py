"""Uses two layers of one kind, and prints what the real OpenTelemetry SDK reads of them, as JSON.

Its arguments are the import path of the layer's class, a URL, and "before" or "after": when the
site sets its provider, seen from the first layer.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from django.utils.module_loading import import_string
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
provider = MeterProvider(metric_readers=[reader])


def show() -> None:
    """Print what the SDK reads, in one line."""
    data = reader.get_metrics_data()
    assert data
    print(data.to_json(indent=None), flush=True)


async def use(layer: Any) -> None:
    """Send two messages, one to a group, and receive one."""
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.send(channel, {"type": "one"})
    await layer.group_send("room", {"type": "two"})
    await layer.receive(channel)
    await layer.close_pools()


path, url, when = sys.argv[1:]
if when == "before":
    metrics.set_meter_provider(provider)
layers = [import_string(path)([url], prefix=f"telemetry-{os.getpid()}-") for _ in range(2)]
if when == "after":
    metrics.set_meter_provider(provider)
for layer in layers:
    asyncio.run(use(layer))
show()
if os.fork() == 0:
    show()
    os._exit(0)
os.wait()
