"""The recipes of the page on monitoring, on both layers, and the dashboard for Grafana."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedded_server import reserve_port
from support.pages import DOCS, write_files
from support.programs import environment

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

PROGRAM = Path(__file__).parent / "monitored_site.py"
LAYERS = ("channels_redis_queue.RedisChannelLayer", "channels_redis_pubsub.RedisPubSubChannelLayer")
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
LABELS = {"messaging_redis_drop_reason", "messaging_redis_layer", "messaging_redis_prefix"}


@pytest.fixture(scope="module", params=LAYERS, ids=["queue", "pubsub"])
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: EmbeddedServer,
) -> dict[str, Any]:
    """Run a site with the page's files; return what Prometheus, Sentry and OpenTelemetry got."""
    folder = tmp_path_factory.mktemp("site")
    write_files("monitoring.md", folder)
    prefix = f"test-{secrets.token_hex(6)}-"
    with reserve_port() as reserved:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(folder), request.param, prefix, redis_server.url],
            capture_output=True,
            check=False,
            text=True,
            env=environment(METRICS_PORT=str(reserved.getsockname()[1])),
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def expressions() -> list[str]:
    """All queries of the dashboard and the page."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = DASHBOARD["templating"]["list"]
    queries += [one["definition"] for one in variables if one["type"] == "query"]
    page = (DOCS / "monitoring.md").read_text()
    return queries + re.findall(r"^\| `(.*messaging_.*)` \|", page, re.MULTILINE)


def test_dashboard_has_what_is_exported(site: dict[str, Any]) -> None:
    """Each metric and each label in a query is exported, and each exported metric is shown."""
    exported = re.findall(r"^(messaging_\w+)\{(.+)\} ", site["prometheus"], re.MULTILINE)
    assert len(expressions()) >= 15
    named = set(re.findall(r"\bmessaging_\w+", " ".join(expressions())))
    assert named - LABELS == {name for name, _ in exported}
    for _, labels in exported:
        assert set(re.findall(r"(\w+)=", labels)) >= LABELS - {"messaging_redis_drop_reason"}
    assert 'messaging_redis_drop_reason="capacity"' in site["prometheus"]


def test_sentry_reports_errors(site: dict[str, Any]) -> None:
    """Each error is one event, also if the server logs it, with the consumer and the message."""
    errors = [event for event in site["sentry"] if event.get("level") == "error"]
    reported = [
        (event["exception"]["values"][0]["type"], event["tags"]["message"]) for event in errors
    ]
    assert reported == [("KeyError", "chat.said"), ("ValueError", "job.started")]
    assert [event["tags"]["consumer"] for event in errors] == ["Chat", "Job"]


def test_sentry_gets_warnings(site: dict[str, Any]) -> None:
    """With the integration that the page names, a WARNING of the layer is an event."""
    warnings = [event for event in site["sentry"] if event.get("level") == "warning"]
    assert [event["logentry"]["message"] for event in warnings] == ["Lost %s"]


def test_sentry_continues_traces(site: dict[str, Any]) -> None:
    """The handler's transaction is in the trace of the request that sent its message."""
    transactions = [event for event in site["sentry"] if event.get("type") == "transaction"]
    request = next(one for one in transactions if one["transaction"] == "a request")
    handled = next(one for one in transactions if one["transaction"] == "chat.said")
    sent = request["contexts"]["trace"]
    assert handled["contexts"]["trace"]["trace_id"] == sent["trace_id"]
    assert handled["contexts"]["trace"]["parent_span_id"] == sent["span_id"]


def test_opentelemetry_continues_traces(site: dict[str, Any]) -> None:
    """The handler's span is a child of the span that sent its message."""
    sent = next(span for span in site["spans"] if span["name"] == "send chat.said")
    handled = [span for span in site["spans"] if span["name"] == "chat.said"]
    assert (sent["trace"], sent["id"]) in [(span["trace"], span["parent"]) for span in handled]
