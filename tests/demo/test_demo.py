from __future__ import annotations

import asyncio
import json
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

LAYERS = ["queue", "pubsub"]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

NOT_SHARED = """
import os
from channels_redis_pubsub import RedisPubSubChannelLayer

class RedisChannelLayer(RedisPubSubChannelLayer):
    def __init__(self, hosts, **options):
        super().__init__(hosts, prefix=str(os.getpid()), **options)
"""


def connected(url: str) -> connect:
    """Connect to a server as a page does."""
    return connect(url.replace("http", "ws") + "/ws/", origin=Origin(url), proxy=None)


def files_in(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return list(folder.iterdir())


@pytest.mark.parametrize("layer", LAYERS)
async def test_smoke(start_demo: StartDemo, layer: str, temporary_folder: Path) -> None:
    """The demo chats by itself with either layer, exits 0, and leaves no file behind."""
    demo = await start_demo("--smoke", "--layer", layer)
    assert await demo.end() == 0, demo.output
    assert "A -> Redis -> B" in demo.output
    assert "B -> Redis -> A" in demo.output
    assert demo.output.endswith("All worked.\n")
    assert not files_in(temporary_folder)


@pytest.mark.parametrize(
    ("module", "arguments", "failure"),
    [
        (NOT_SHARED, ["--smoke"], "FAILED: Bob on server B got no 'here'"),
        ("", [], "FAILED: server "),
    ],
    ids=["does not leave its process", "does not import"],
)
async def test_layer_that_does_not_work(
    start_demo: StartDemo, tmp_path: Path, module: str, arguments: list[str], failure: str
) -> None:
    """The demo ends, and its last line says what is missing."""
    (tmp_path / "channels_redis_queue.py").write_text(module)
    demo = await start_demo(*arguments, before=tmp_path)
    assert await demo.end() == 1
    assert failure in demo.output.splitlines()[-1]


async def test_no_redis(start_demo: StartDemo) -> None:
    """Without a server to run, the demo says so and exits."""
    demo = await start_demo(REDIS_SERVER="/nowhere/redis-server")
    assert await demo.end() == 1
    assert demo.output.startswith("FAILED: REDIS_SERVER is '/nowhere/redis-server'")


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_stops_cleanly(
    start_demo: StartDemo, number: signal.Signals, temporary_folder: Path
) -> None:
    """A signal, even twice, ends all processes with pages open, and exits 0."""
    demo = await start_demo()
    urls = await demo.urls()
    children = demo.children()
    assert len(children) == 3
    async with connected(urls["A"]):
        demo.process.send_signal(number)
        demo.process.send_signal(number)
        assert await demo.end() == 0, demo.output
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in demo.output
    assert not files_in(temporary_folder)


@linux_only
async def test_server_that_dies_ends_the_demo(start_demo: StartDemo) -> None:
    """The demo fails if a server process has ended by itself."""
    demo = await start_demo()
    await demo.urls()
    servers = [pid for pid, name in demo.children().items() if "python" in name]
    os.kill(servers[0], signal.SIGTERM)
    assert await demo.end() == 1
    assert "FAILED: server A ended with exit status -15" in demo.output


JOIN = {"kind": "join", "name": "Ada", "page": "a page", "room": "lobby", "since": None}
SAY = {"kind": "say", "id": "1", "text": "Hello."}
WRONG: list[object] = [
    {**JOIN, "name": " "},
    {**JOIN, "name": ["Ada"]},
    {**JOIN, "room": "no blanks"},
    {**JOIN, "page": "x" * 101},
    {**JOIN, "since": 1},
    SAY,  # before it has joined
    {**SAY, "text": "x" * 2001},
    {**SAY, "id": float("nan")},
    {"kind": ["join"]},
    {"kind": "sing"},
    [],
]


async def test_refuses_nonsense(start_demo: StartDemo) -> None:
    """Wrong requests of a page get a reason, and it stays connected."""
    url = (await (await start_demo()).urls())["A"]
    async with connected(url) as page:
        for request in (*map(json.dumps, WRONG), "{"):
            await page.send(request)
            answer = json.loads(await asyncio.wait_for(page.recv(), 30))
            assert (answer["kind"], bool(answer["reason"])) == ("refused", True), request
        await page.send(json.dumps(JOIN))
        assert json.loads(await asyncio.wait_for(page.recv(), 30))["kind"] != "refused"
