"""Broadcasts behind each ASGI server: all clients get all frames, and the server exits."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from support.browsers import Browsers
from support.messages import within
from support.sites import free_port, running
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

CLIENTS = 200
MESSAGES = 20
QUEUE = "channels_redis_queue.RedisChannelLayer"
PUBSUB = "channels_redis_pubsub.RedisPubSubChannelLayer"
UVICORN = "uvicorn --lifespan off --log-level warning --port {port}"
SERVERS = [
    ("daphne --port {port} {site}", QUEUE),
    (f"{UVICORN} --ws websockets-sansio {{site}}", PUBSUB),
    (f"{UVICORN} --ws wsproto --loop asyncio {{site}}", QUEUE),
    ("hypercorn --bind 127.0.0.1:{port} {site}", PUBSUB),
    ("granian --interface asginl --port {port} --log-level warning {site}", QUEUE),
]


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("command", "backend"), SERVERS)
async def test_all_clients_get_all_frames(
    redis_server: EmbeddedServer, prefix: str, command: str, backend: str
) -> None:
    """In order, most of them the quick way; and a signal ends the server."""
    port = free_port()
    words = command.format(port=port, site="broadcast.site:application").split()
    python, url = (sys.executable, "-m"), redis_server.url
    async with running(*python, *words, BACKEND=backend, REDIS_URL=url, PREFIX=prefix) as process:
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
