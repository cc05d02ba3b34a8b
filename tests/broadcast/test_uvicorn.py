"""Broadcasts behind Uvicorn: it encodes none, unless a frame is long enough to compress."""

from __future__ import annotations

import asyncio
import random
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import uvicorn
from channels.generic.websocket import AsyncWebsocketConsumer
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from channels_redis_queue._shared.uvicorn_socket import UvicornSocket
from channels_redis_queue.broadcast import Broadcasts, broadcast
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Connect = Callable[..., Awaitable[ClientConnection]]


class Room(Broadcasts, AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends frames by broadcast, and by an ordinary handler."""

    groups = ("room",)

    @broadcast
    def quick(event: dict[str, Any]) -> Any:  # noqa: N805 - no self
        """Send the content; a surrogate, which no message can hold, for a null."""
        content = event["content"]
        return content.replace("\0", "\ud800") if isinstance(content, str) else content

    async def slow(self, event: dict[str, Any]) -> None:
        """Do the same."""
        await self.send(text_data=event["content"])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list of what Uvicorn encodes from now on."""
    frames: list[Any] = []
    send = WebSocketsSansIOProtocol.send

    async def note(protocol: WebSocketsSansIOProtocol, message: Any) -> None:
        if message["type"] == "websocket.send":
            frames.append(message.get("text") or message["bytes"])
        await send(protocol, message)

    monkeypatch.setattr(WebSocketsSansIOProtocol, "send", note)
    return frames


@pytest_asyncio.fixture
async def join(
    layer: Any,
    encoded: list[Any],  # noqa: ARG001 - before the first connection
) -> AsyncIterator[Connect]:
    """Yield a coroutine function that connects a client to Uvicorn, as a member of the room."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(Room.as_asgi(), ws="websockets-sansio", lifespan="off", log_level="warning")
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    clients: list[ClientConnection] = []

    async def connect_one(compression: str | None = "deflate") -> ClientConnection:
        url = f"ws://127.0.0.1:{port}"
        # One that does not read keeps one frame, besides what the sockets hold.
        connecting = connect(url, compression=compression, max_size=None, max_queue=1)
        clients.append(await within(connecting))
        # Each has asked for a message.
        await eventually(lambda: layer.statistics().mailboxes >= len(clients))
        return clients[-1]

    yield connect_one
    for client in clients:
        client.transport.abort()
    server.should_exit = True
    await within(serving)


async def quick(sender: Any, content: str | bytes) -> None:
    """Broadcast a frame."""
    await sender.group_send("room", {"type": "quick", "content": content})


@pytest.mark.parametrize(
    ("content", "is_encoded"),
    [("é" * 510, False), (b"\0", False), ("", False), ("a" * 1025, True), ("b" * 70_000, True)],
)
async def test_short_frame_is_encoded_once(
    sender: Any, join: Connect, encoded: list[Any], content: str | bytes, *, is_encoded: bool
) -> None:
    """Also for browsers that read compressed frames; for these Uvicorn compresses a long one."""
    clients = [await join(), await join(None)]
    await quick(sender, content)
    for client in clients:
        assert await within(client.recv()) == content
    assert encoded == [content] * is_encoded


async def test_compressed_and_other_frames(sender: Any, join: Connect) -> None:
    """Come in order, and a compressed one refers to compressed ones only."""
    client, chance = await join(), random.Random(1)
    contents = []
    for at in range(200):
        length = chance.choice([1, 100, 1000, 3000])
        contents.append(f"{at} " + "".join(chance.choices("abcd", k=length)))
        kind = chance.choice(["quick", "slow"])
        await sender.group_send("room", {"type": kind, "content": contents[-1]})
    assert [await within(client.recv()) for _ in contents] == contents


async def test_browser_that_does_not_read(layer: Any, sender: Any, join: Connect) -> None:
    """Its frames wait in its mailbox, and not in Uvicorn."""
    stuck, reader = await join(None), await join(None)
    contents = [f"{at}" * 300_000 for at in range(10, 50)]
    for content in contents:
        await quick(sender, content)
        assert await within(reader.recv()) == content
    assert layer.statistics().waiting
    assert [await within(stuck.recv()) for _ in contents] == contents


async def test_browser_that_has_gone(sender: Any, join: Connect) -> None:
    """It harms no other."""
    gone, stays = await join(), await join()
    gone.transport.abort()
    for at in range(20):
        await quick(sender, f"{at}")
        assert await within(stays.recv()) == f"{at}"


async def test_text_that_cannot_be_encoded(
    sender: Any, join: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is raised in the consumers, as behind any server."""
    client = await join()
    await quick(sender, "\0")
    with pytest.raises(ConnectionClosedError):
        await within(client.recv())
    assert "UnicodeEncodeError" in caplog.text


def test_other_servers() -> None:
    """A server without the attributes gets its frames through `send`."""

    async def send(_: Any) -> None:
        raise NotImplementedError

    changed = type("Changed", (), {"__module__": WebSocketsSansIOProtocol.__module__})()
    assert UvicornSocket.behind(send) is None
    assert UvicornSocket.behind(SimpleNamespace(send=send).send) is None
    assert UvicornSocket.behind(send.__get__(changed)) is None
