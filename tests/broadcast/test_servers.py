"""Broadcasts behind each ASGI server: all clients get all frames, and the server exits."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from support.browsers import Browsers
from support.messages import within
from support.sites import free_port, running
from support.waiting import eventually

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer

CLIENTS = 200
MESSAGES = 20
UVICORN = "uvicorn --lifespan off --log-level warning --port {port}"
SERVERS = {
    "daphne": "daphne --port {port} {site}",
    "uvicorn-websockets": f"{UVICORN} --ws websockets-sansio {{site}}",
    "uvicorn-wsproto": f"{UVICORN} --ws wsproto --loop asyncio {{site}}",
    "hypercorn": "hypercorn --bind 127.0.0.1:{port} {site}",
    "granian": "granian --interface asginl --port {port} --log-level warning {site}",
}
BACKENDS = (
    "channels_redis_queue.RedisChannelLayer",
    "channels_redis_pubsub.RedisPubSubChannelLayer",
)


@pytest_asyncio.fixture(params=SERVERS)
async def served(
    request: pytest.FixtureRequest, redis_server: EmbeddedServer, prefix: str
) -> AsyncIterator[tuple[Process, int]]:
    """Yield a server's process, and its port; every other server has the other layer."""
    port = free_port()
    words = SERVERS[request.param].format(port=port, site="broadcast.site:application").split()
    backend = BACKENDS[list(SERVERS).index(request.param) % 2]
    command, url = [sys.executable, "-m", *words], redis_server.url
    async with running(*command, BACKEND=backend, REDIS_URL=url, PREFIX=prefix) as process:
        yield process, port


@pytest.mark.timeout(150)
async def test_all_clients_get_all_frames(served: tuple[Process, int]) -> None:
    """In order, most of them the quick way; and a signal ends the server."""
    process, port = served
    # Daphne takes its time, and more next to other tests.
    await eventually(lambda: process.returncode is not None or listens(port), 60)
    browsers = Browsers(keep_frames=True)
    await within(browsers.connect([port], CLIENTS))
    speaker = browsers.all[0]
    for number in range(MESSAGES):
        speaker.say(number)
    frames = [str(number).encode() for number in range(MESSAGES)]
    await eventually(lambda: all(frames[-1] in browser.frames for browser in browsers.all), 60)
    for browser in browsers.all:
        assert browser.frames == frames
    arrived = browsers.expect(1)
    speaker.say("how many")
    await within(arrived)
    assert int(speaker.frames[-1]) > MESSAGES * CLIENTS // 4
    browsers.close()
    process.send_signal(signal.SIGINT)
    assert await within(process.wait(), 60) in {0, -signal.SIGINT}


def listens(port: int) -> bool:
    """Try to connect to a server."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
