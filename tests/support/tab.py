"""A page of the chat in a browser, and what a person sees and does there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.waiting import eventually

if TYPE_CHECKING:
    from playwright.async_api import ConsoleMessage, Page, WebSocket

DEADLINE = 30.0  # seconds; generous, since browsers on busy machines are slow


class Tab:
    """One person's page. What it `shows` is waited for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        # What the browser complains of.
        self.errors: list[str] = []
        # What the server process has sent over its WebSocket.
        self.events: list[dict[str, Any]] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note_error)
        page.on("websocket", self._listen)

    def _note_error(self, line: ConsoleMessage) -> None:
        if line.type == "error":
            self.errors.append(line.text)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self.events.append(json.loads(frame)))

    async def go(self, url: str, name: str) -> None:
        """Open a server's page, and wait until it has joined the lobby."""
        await self.page.add_init_script(f"sessionStorage.name ||= {json.dumps(name)}")
        await self.page.goto(url)
        await eventually(lambda: self.told("list"), DEADLINE)

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind from the server process."""
        return [event for event in self.events if event["kind"] == kind]

    async def say(self, text: str) -> None:
        """Type a message and press Enter."""
        await self.page.fill("#text", text)
        await self.page.press("#text", "Enter")

    async def texts(self, selector: str) -> list[str]:
        """Return the text of each element, as it stands on the page, with single blanks."""
        texts = await self.page.locator(selector).all_inner_texts()
        return [" ".join(text.split()) for text in texts]

    async def shows(self, selector: str, *texts: str) -> None:
        """Wait until the elements are those with these texts, in this order."""

        async def found() -> bool:
            seen[:] = await self.texts(selector)
            return seen == list(texts)

        seen: list[str] = []
        try:
            await eventually(found, DEADLINE)
        except TimeoutError:
            # Says what differs.
            assert seen == list(texts), selector

    async def said(self) -> list[str]:
        """Return all messages, as the page shows them, without names and ways."""
        return await self.texts("#talk li[data-server] p")
