"""Two people at two server processes, each with a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from demo.conftest import Chat

pytestmark = [pytest.mark.demo, pytest.mark.timeout(180)]

HEARD = re.compile(r"(\w) → Redis → (\w) · [\d.]+ ms")
MINE = re.compile(r"(\w) → Redis → (\w) · [\d.]+ ms · \d+ ms from key to screen")


async def test_two_pages_talk(chat: Chat) -> None:
    """Each sees who is here and on which server, and what is said, its way and how long it took."""
    ada, bob = chat.ada, chat.bob
    await ada.shows("header span.server", "Server A")
    await bob.shows("header span.server", "Server B")
    await ada.say("Hello, Bob.")
    await bob.shows("#talk p", "Hello, Bob.")
    await bob.say("Hello, Ada.")
    for tab, patterns, ways in (
        (ada, (MINE, HEARD), [("A", "A"), ("B", "A")]),
        (bob, (HEARD, MINE), [("A", "B"), ("B", "B")]),
    ):
        await tab.shows("#talk li[data-server] p", "Hello, Bob.", "Hello, Ada.")
        shown = await tab.texts("#talk small")
        found = [pattern.fullmatch(text) for pattern, text in zip(patterns, shown, strict=True)]
        assert [match and match.groups() for match in found] == ways, shown
    await bob.page.close()
    await ada.shows("#people li", "Ada server A")


async def test_rooms(chat: Chat) -> None:
    """A room is heard by those in it; newcomers catch up; rooms and names can be new."""
    ada, bob = chat.ada, chat.bob
    await ada.shows("#rooms li", "# lobby 2", "# tea-kitchen", "# library")
    await bob.page.click("text=# tea-kitchen")
    await ada.shows("#rooms li", "# lobby 1", "# tea-kitchen 1", "# library")
    await bob.shows("#people li", "Bob server B")
    await bob.say("Tea is ready.")
    await bob.shows("#talk li[data-server] p", "Tea is ready.")
    await ada.say("Where are you all?")
    await ada.shows("#talk li[data-server] p", "Where are you all?")
    await ada.page.click("text=# tea-kitchen")
    await ada.shows("#talk p", "Tea is ready.")
    assert await bob.said() == ["Tea is ready."]
    await bob.page.fill("#room", "attic")
    await bob.page.press("#room", "Enter")
    await ada.shows("#rooms li", "# lobby", "# tea-kitchen 1", "# library", "# attic 1")
    await ada.page.click("text=# attic")
    await bob.page.fill("#name", "Robert")
    await bob.page.press("#name", "Enter")
    await ada.shows("#people li", "Ada server A", "Robert server B")
