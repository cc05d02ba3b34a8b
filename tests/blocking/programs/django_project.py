"""A Django project in one file, and what its test asks of it: views under ASGI and WSGI."""

from __future__ import annotations

import asyncio
import sys
import threading
import urllib.request
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
import redis
from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

from blocking.programs.setting import say

if TYPE_CHECKING:
    from collections.abc import Callable

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a key for this test alone",
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": sys.argv[1],
            "CONFIG": {"hosts": [sys.argv[2]], "capacity": 10_000},
        }
    },
)
django.setup()

from channels.layers import get_channel_layer  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

REQUESTS = 50


def sync_view(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Send from a synchronous view."""
    async_to_sync(get_channel_layer().group_send)("room", {"type": "hello"})
    return HttpResponse("sent")


async def async_view(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Send from an asynchronous view."""
    await get_channel_layer().group_send("room", {"type": "hello"})
    return HttpResponse("sent")


urlpatterns = [path("sync", sync_view), path("async", async_view)]


async def ask(application: Any, url: str) -> bytes:
    """Make one request of an ASGI application, and return the body of its response."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": url,
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
    }
    requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    await requests.put({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await application(scope, requests.get, send)
    return b"".join(event.get("body", b"") for event in sent)


async def with_consumer(work: Callable[[], Any]) -> int:
    """Run the work while a consumer listens, and return how many messages it got."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    got = 0

    async def consume() -> None:
        nonlocal got
        while got < REQUESTS:
            await layer.receive(channel)
            got += 1

    consumer = asyncio.ensure_future(consume())
    await asyncio.sleep(0)
    await layer.group_add("room", channel)
    await work()
    await asyncio.wait_for(consumer, 20)
    return got


async def over_asgi(url: str) -> int:
    """Ask for a view under ASGI."""
    application = get_asgi_application()

    async def requests() -> None:
        for _ in range(REQUESTS):
            assert await ask(application, url) == b"sent"

    return await with_consumer(requests)


class Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Write nothing."""


async def over_wsgi() -> int:
    """Ask for the synchronous view under WSGI, in a server of threads."""

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = False

    with Server(("127.0.0.1", 0), Quiet) as server:
        server.set_app(get_wsgi_application())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def requests() -> None:
            for _ in range(REQUESTS):
                with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/sync") as got:
                    assert got.read() == b"sent"

        try:
            return await with_consumer(lambda: asyncio.to_thread(requests))
        finally:
            server.shutdown()
            thread.join()


WAYS = {"async view": lambda: over_asgi("/async"), "wsgi": over_wsgi}
with redis.Redis.from_url(sys.argv[2]) as client:
    before = client.info("stats")["total_connections_received"]
    say("received", asyncio.run(WAYS[sys.argv[3]]()))
    say("connections", client.info("stats")["total_connections_received"] - before)
