"""Broadcasts behind each ASGI server: all clients get all frames, and the server exits."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browsers import Browsers
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(params=SERVERS)
def served(
    request: pytest.FixtureRequest, redis_server: EmbeddedServer, prefix: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Yield a server's process, and its port; every other server has the other layer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = SERVERS[request.param].format(port=port, site="broadcast.site:application").split()
    paths = [str(Path(__file__).parents[1]), *sys.path]
    environment = {
        **os.environ,
        "BACKEND": BACKENDS[list(SERVERS).index(request.param) % 2],
        "REDIS_URL": redis_server.url,
        "PREFIX": prefix,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    process = subprocess.Popen([sys.executable, "-m", *words], env=environment)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(150)
async def test_all_clients_get_all_frames(served: tuple[subprocess.Popen[bytes], int]) -> None:
    """In order, most of them the quick way; and a signal ends the server."""
    process, port = served
    # Daphne takes its time, and more next to other tests.
    await eventually(lambda: process.poll() is not None or listens(port), 60)
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
    # Not in a thread: the loop would wait for that even after the deadline.
    await eventually(lambda: process.poll() is not None, 60)
    assert process.returncode in {0, -signal.SIGINT}


def listens(port: int) -> bool:
    """Try to connect to a server."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
