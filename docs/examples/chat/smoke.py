"""Two WebSocket clients that chat, one on each server process."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from websockets.asyncio.client import ClientConnection

    from asgi_servers import ChatServer

PATIENCE = 10.0  # seconds to wait for each thing that should happen


class SmokeError(Exception):
    """Raised when something that should happen did not."""


class Tab:
    """A browser tab, as the server sees it: a WebSocket."""

    def __init__(self, name: str, server: ChatServer, socket: ClientConnection) -> None:
        self.name = name
        self.server = server
        self._socket = socket

    async def send(self, **message: str) -> None:
        """Send what the page would send."""
        await self._socket.send(json.dumps(message))

    async def expect(self, kind: str, **expected: str) -> dict[str, Any]:
        """Return the next event of that kind about such a person or message; skip others.

        Raises:
            SmokeError: It did not come in time.
        """
        try:
            return await asyncio.wait_for(self._next(kind, expected), PATIENCE)
        except asyncio.TimeoutError as error:
            message = f"{self} got no {kind!r} with {expected} within {PATIENCE:g} s"
            raise SmokeError(message) from error
        except WebSocketException as error:
            message = f"{self} waited for {kind!r} with {expected}, but: {error}"
            raise SmokeError(message) from error

    async def _next(self, kind: str, expected: dict[str, str]) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(await self._socket.recv())
            if any(expected.items() <= one.items() for one in subjects(event, kind)):
                return event

    def __str__(self) -> str:
        return f"{self.name} on server {self.server.name}"


def subjects(event: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The people who are `here` or have `left`, or the message that was `said`."""
    if kind == "said":
        return [event["said"]] if event["kind"] == "said" else []
    people = event.get("leaves" if kind == "left" else "joins", event.get("people", {}))
    return [person for (person,) in people.values()]


@asynccontextmanager
async def open_tab(name: str, server: ChatServer) -> AsyncIterator[Tab]:
    """Connect to a server as its page does."""
    url = server.url.replace("http", "ws", 1) + "/ws/"
    try:
        origin = Origin(server.url)
        async with connect(url, origin=origin, proxy=None, open_timeout=PATIENCE) as socket:
            yield Tab(name, server, socket)
    except (OSError, WebSocketException) as error:
        message = f"{name} can't connect to {url}: {error}"
        raise SmokeError(message) from error


async def chat_a_little(servers: Sequence[ChatServer]) -> None:
    """Join a room, talk across the processes both ways, leave. Print each step.

    Raises:
        SmokeError: The first thing that did not work.
    """
    async with open_tab("Ada", servers[0]) as ada:
        async with open_tab("Bob", servers[1]) as bob:
            await join(ada, bob)
            await say(ada, "Hello from the other process!", hearers=(bob, ada))
            await say(bob, "Good to hear you.", hearers=(ada, bob))
        await ada.expect("left", name="Bob")
        print("Bob left; Ada saw it.")
    print("Ada left. All worked.")


async def join(ada: Tab, bob: Tab) -> None:
    """Let both join one room, and see each other."""
    room = f"smoke-{secrets.token_hex(3)}"
    await ada.send(kind="join", page="Ada", name=ada.name, room=room)
    await ada.expect("here", name=ada.name)
    print(f"{ada} joined the room {room}.")
    await bob.send(kind="join", page="Bob", name=bob.name, room=room)
    await bob.expect("here", name=ada.name, server=ada.server.name, room=room)
    await ada.expect("here", name=bob.name, server=bob.server.name, room=room)
    print(f"{bob} joined it, too. Each sees the other.")


async def say(speaker: Tab, text: str, hearers: Sequence[Tab]) -> None:
    """Let one say something, and the others hear it."""
    await speaker.send(kind="say", id=secrets.token_hex(8), text=text)
    for hearer in hearers:
        heard = await hearer.expect("said", text=text)
        sender = heard["said"]["person"]
        if sender["name"] != speaker.name:
            message = f"{hearer} heard it from {sender['name']}, not from {speaker}"
            raise SmokeError(message)
        way = f"{sender['server']} -> Redis -> {heard['to']}, {heard['ms']} ms"
        print(f"{speaker} said {text!r}; {hearer.name} heard it ({way}).")
