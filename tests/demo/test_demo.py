from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from websockets.asyncio.client import ClientConnection

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


JOIN = {"kind": "join", "page": "a page", "room": "lobby", "since": None}


async def open_tab(stack: AsyncExitStack, url: str, name: str) -> ClientConnection:
    """Connect as a page does, and join the lobby."""
    tab = await stack.enter_async_context(
        connect(url.replace("http", "ws") + "/ws/", origin=Origin(url), proxy=None)
    )
    await tab.send(json.dumps({**JOIN, "name": name}))
    return tab


async def find(tab: ClientConnection, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the next event that matches; skip others."""

    async def search() -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(await tab.recv())
            if matches(event):
                return event

    return await asyncio.wait_for(search(), 30)


async def event(tab: ClientConnection, kind: str, text: str = "") -> dict[str, Any]:
    """Return the next event of a kind, about this text if any."""
    return await find(
        tab, lambda found: found["kind"] == kind and (not text or found["said"]["text"] == text)
    )


async def shows(tab: ClientConnection, name: str) -> None:
    """Wait for a list of people, or for a change, with someone of this name."""
    await find(
        tab,
        lambda found: any(
            person["name"] == name
            for (person,) in found.get("people", found.get("joins", {})).values()
        ),
    )


def listening(ports: set[int]) -> set[str]:
    """Return the inodes of the sockets that listen on ports; another demo may take them over."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A" and int(row[1][-4:], 16) in ports}


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


async def test_smoke_fails_when_processes_are_not_connected(
    start_demo: StartDemo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With a layer that does not leave its process, the smoke test says what is missing."""
    folder = tmp_path_factory.mktemp("layer")
    (folder / "channels_redis_queue.py").write_text(NOT_SHARED)
    demo = await start_demo("--smoke", before=folder)
    assert await demo.end() == 1
    assert "FAILED: Bob on server B got no 'here'" in demo.output.splitlines()[-1]


async def test_layer_that_does_not_import(
    start_demo: StartDemo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A server that does not start ends the demo, with one line that says so at the end."""
    folder = tmp_path_factory.mktemp("layer")
    (folder / "channels_redis_queue.py").write_text("")
    demo = await start_demo(before=folder)
    assert await demo.end() == 1
    assert "FAILED: server " in demo.output.splitlines()[-1]


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
    ports = {int(url.rpartition(":")[2]) for url in urls.values()}
    sockets = listening(ports)
    assert len(sockets) == 2
    async with AsyncExitStack() as stack:
        await shows(await open_tab(stack, urls["A"], "Ada"), "Ada")
        demo.process.send_signal(number)
        demo.process.send_signal(number)
        assert await demo.end() == 0, demo.output
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not sockets & listening(ports)
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


async def test_refuses_nonsense(start_demo: StartDemo) -> None:
    """Wrong requests of a page get a reason; it stays connected, and the others get nothing."""
    urls = await (await start_demo()).urls()
    async with AsyncExitStack() as stack:
        ada = await open_tab(stack, urls["A"], "Ada")
        bob = await open_tab(stack, urls["B"], "Bob")
        join, say = {**JOIN, "name": "Ada"}, {"kind": "say", "id": "1", "text": "Hello."}
        wrong_requests: list[object] = [
            {**join, "name": " "},
            {**join, "name": ["Ada"]},
            {**join, "room": "no blanks"},
            {**join, "page": float("nan")},
            {**join, "page": "x" * 101},
            {**join, "since": 1},
            {**say, "text": "x" * 2001},
            {**say, "text": {}},
            {**say, "id": float("nan")},
            {**say, "id": "x" * 101},
            {"kind": "say"},
            {"kind": ["join"]},
            {"kind": "sing"},
            [],
        ]
        for wrong in wrong_requests:
            await ada.send(json.dumps(wrong))
            assert (await event(ada, "refused"))["reason"]
        await ada.send("{")
        assert (await event(ada, "refused"))["reason"]
        stranger = await open_tab(stack, urls["B"], " ")
        await stranger.send(json.dumps({"kind": "say", "text": "Who am I?"}))
        for _ in range(2):
            assert (await event(stranger, "refused"))["reason"]
        await ada.send(json.dumps({"kind": "say", "id": "1", "text": "All right."}))
        assert (await event(ada, "said", "All right."))["to"] == "A"
        # Bob's page got nothing else.
        assert (await event(bob, "said"))["said"]["text"] == "All right."
