from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from .conftest import Demo

    StartDemo = Callable[..., Awaitable[Demo]]

pytestmark = [pytest.mark.demo, pytest.mark.timeout(120)]

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

NOT_SHARED = """
import os
from channels_redis_pubsub import RedisPubSubChannelLayer

class RedisChannelLayer(RedisPubSubChannelLayer):
    def __init__(self, hosts, **options):
        super().__init__(hosts, prefix=str(os.getpid()), **options)
"""


@pytest.mark.parametrize("layer", ["queue", "pubsub"])
async def test_smoke(start_demo: StartDemo, layer: str) -> None:
    """The demo chats by itself with either layer, and exits 0."""
    demo = await start_demo("--smoke", "--layer", layer)
    assert await demo.end() == 0, demo.output
    assert "A -> Redis -> B" in demo.output
    assert "B -> Redis -> A" in demo.output
    assert demo.output.endswith("All worked.\n")


async def test_layer_that_does_not_work(start_demo: StartDemo, tmp_path: Path) -> None:
    """The demo ends, and its last line says what is missing."""
    (tmp_path / "channels_redis_queue.py").write_text(NOT_SHARED)
    demo = await start_demo("--smoke", before=tmp_path)
    assert await demo.end() == 1
    assert "FAILED: Bob on server B got no 'here'" in demo.output.splitlines()[-1]


async def test_no_redis(start_demo: StartDemo) -> None:
    """Without a server to run, the demo says so and exits."""
    demo = await start_demo(REDIS_SERVER="/nowhere/redis-server")
    assert await demo.end() == 1
    assert demo.output.startswith("FAILED: REDIS_SERVER is '/nowhere/redis-server'")


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_stops_cleanly(start_demo: StartDemo, number: signal.Signals) -> None:
    """A signal, even twice, ends all processes with pages open, and exits 0."""
    demo = await start_demo()
    url = (await demo.urls())["A"]
    children = demo.children()
    assert len(children) == 3
    page = url.replace("http", "ws") + "/ws/"
    async with connect(page, origin=Origin(url), proxy=None):
        demo.process.send_signal(number)
        demo.process.send_signal(number)
        assert await demo.end() == 0, demo.output
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in demo.output
