"""A site with the recipes of the page on monitoring; prints what Prometheus and Sentry would get.

Its arguments are the folder of the page's files, the import path of a layer's class, its prefix,
and a URL.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import django
import sentry_sdk
from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.testing import ApplicationCommunicator, WebsocketCommunicator
from django.conf import settings
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

DEADLINE = 30


class Kept(Transport):
    """Keeps the events and transactions that Sentry's server would get."""

    items: list[dict[str, Any]] = []  # noqa: RUF012 - the SDK creates the only instance

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep what the envelope has."""
        found = (item.get_event() or item.get_transaction_event() for item in envelope.items)
        self.items.extend(dict(event) for event in found if event is not None)


folder, layer, prefix, url = sys.argv[1:]
sys.path.insert(0, folder)
config = {"hosts": [url], "prefix": prefix}
settings.configure(CHANNEL_LAYERS={"default": {"BACKEND": layer, "CONFIG": config}})
sentry_sdk.init(
    dsn="https://key@sentry.invalid/1",
    integrations=[LoggingIntegration(event_level=logging.WARNING)],
    traces_sample_rate=1.0,
    transport=Kept,
)
django.setup()
spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
metrics = importlib.import_module("mysite.metrics")
reporting = importlib.import_module("mysite.reporting")
tracing = importlib.import_module("mysite.tracing")


class Chat(reporting.Reported, tracing.Traced, AsyncJsonWebsocketConsumer):  # type: ignore[name-defined, misc]
    """Answers, and fails at a message without a text."""

    groups = ("chat",)

    async def chat_said(self, event: dict[str, Any]) -> None:
        """Pass the text on."""
        await self.send_json(event["text"])


class Job(reporting.Reported, AsyncConsumer):  # type: ignore[name-defined, misc]
    """A worker's consumer that fails."""

    async def job_started(self, event: dict[str, Any]) -> None:
        """Fail."""
        raise ValueError(event["type"])


def logging_errors(application: Any) -> Any:
    """The application as Uvicorn runs it: its errors are logged in its task."""

    async def run(*arguments: Any) -> None:
        try:
            await application(*arguments)
        except Exception:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
            raise

    return run


async def failure(ended: ApplicationCommunicator, logger: str | None = None) -> None:
    """Wait for the error that ends a consumer, and log it as servers do that look at tasks."""
    try:
        await ended.wait(DEADLINE)
    except (KeyError, ValueError):
        if logger is not None:
            logging.getLogger(logger).exception("Exception inside application")
    else:
        raise AssertionError("it did not fail")


async def main() -> None:
    """Let a handler work, another one fail, and a worker's."""
    metrics.export()
    chat = WebsocketCommunicator(logging_errors(Chat.as_asgi()), "/")
    connected, _ = await chat.connect(timeout=DEADLINE)
    assert connected
    with sentry_sdk.start_transaction(name="a request"):
        await reporting.reported_group_send("chat", {"type": "chat.said", "text": "Hello"})
    assert await chat.receive_json_from(DEADLINE) == "Hello"
    await tracing.traced_group_send("chat", {"type": "chat.said", "text": "Traced"})
    assert await chat.receive_json_from(DEADLINE) == "Traced"
    left = WebsocketCommunicator(Chat.as_asgi(), "/")
    await left.connect(timeout=DEADLINE)
    await left.disconnect(timeout=DEADLINE)
    logging.getLogger(layer.partition(".")[0]).warning("Lost %s", url)
    await reporting.reported_group_send("chat", {"type": "chat.said"})
    await failure(chat)
    job = ApplicationCommunicator(Job.as_asgi(), {"type": "channel", "channel": "jobs"})
    await job.send_input({"type": "job.started"})
    await failure(job, "asgiref.server")
    await get_channel_layer().close_pools()


asyncio.run(main())
sentry_sdk.flush()
with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['METRICS_PORT']}/metrics") as reply:
    prometheus = reply.read().decode()
exported = [
    {
        "name": span.name,
        "trace": span.context.trace_id,
        "id": span.context.span_id,
        "parent": span.parent and span.parent.span_id,
    }
    for span in spans.get_finished_spans()
]
found = {"sentry": Kept.items, "prometheus": prometheus, "spans": exported}
print(json.dumps(found, default=str))
