"""Redis, server processes and pages go away and come back, and no message is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.tab import DEADLINE
from support.waiting import eventually

if TYPE_CHECKING:
    from demo.conftest import Chat, OpenTab
    from support.tab import Tab

pytestmark = [pytest.mark.demo, pytest.mark.timeout(180)]

BURST = [f"{number} of 100" for number in range(1, 101)]
DURING = re.compile(
    r"The plug is pulled: no Redis for \d+\.\d s\. What you say waits in the page\."
)
BACK = re.compile(r"Back after \d+\.\d s, on server (\w)\. Messages lost: 0\.")
AFTER = re.compile(r"Redis was away for \d+\.\d s\. Messages lost: 0\.")


async def test_outage(chat: Chat) -> None:
    """Each page shows the outage, and its end; what was said meanwhile arrives, once."""
    demo, ada, bob = chat.demo, chat.ada, chat.bob
    await bob.say("Here we go.")
    await ada.shows("#talk li[data-server] p", "Here we go.")
    await ada.page.click("#plug")
    await demo.read_until("Redis is gone.")
    await bob.say("Still there?")
    for tab in (ada, bob):
        await shows_notice(tab, DURING)
        await tab.shows("#connection", "Redis is away")
    await bob.shows("#talk li.waiting p", "Still there?")
    await demo.read_until("Redis is back.")
    for tab in (ada, bob):
        await tab.shows("#talk li[data-server] p", "Here we go.", "Still there?")
    await bob.shows("#talk li.waiting")
    await ada.say("Still here.")
    await bob.shows("#talk li[data-server] p", "Here we go.", "Still there?", "Still here.")
    for tab in (ada, bob):
        await tab.shows("#people li", "Ada server A", "Bob server B")
        await shows_notice(tab, AFTER)
        await tab.shows("#connection", "connected")


async def shows_notice(tab: Tab, pattern: re.Pattern[str]) -> None:
    """Wait until the page's only notice is of this form."""

    async def found() -> bool:
        notices = await tab.texts("#talk .notice")
        return len(notices) == 1 and pattern.fullmatch(notices[0]) is not None

    await eventually(found, DEADLINE)


async def shows_in_any_order(tab: Tab, texts: list[str]) -> None:
    """Wait until the page shows these messages."""

    async def arrived() -> bool:
        return sorted(await tab.said()) == texts

    await eventually(arrived, DEADLINE)


async def test_killed_process(chat: Chat, open_tab: OpenTab) -> None:
    """The page comes back at the other process; the killed one starts again."""
    demo, ada, bob = chat.demo, chat.ada, chat.bob
    await ada.say("Watch this.")
    await bob.shows("#talk li[data-server] p", "Watch this.")
    await ada.page.click("#burst")
    await ada.page.click("#kill")
    await demo.read_until("Server A was killed.")
    await bob.say("Where is she?")
    await ada.shows("header span.server", "Server B")
    await ada.shows("#talk li.waiting")
    texts = sorted(["Watch this.", "Where is she?", *BURST])
    await shows_notice(ada, BACK)
    for tab in (ada, bob):
        await shows_in_any_order(tab, texts)
        await tab.shows("#lost", "0")
        await tab.shows("#people li", "Ada server B", "Bob server B")
        await tab.shows("#members", "A 0 · B 2")
    await demo.read_until("Server A starts again.")
    cleo = await open_tab(chat.urls["A"], "Cleo")
    await bob.shows("#members", "A 1 · B 2")
    # A newcomer gets the latest twenty.
    await eventually(lambda: len(cleo.told("said")) == 20, DEADLINE)
    # What the browser says of the killed process.
    assert all("net::ERR_" in error for error in ada.errors)
    ada.errors.clear()


async def test_offline(chat: Chat) -> None:
    """A page that was offline gets what was said meanwhile, and sends what it could not."""
    ada, bob = chat.ada, chat.bob
    await ada.page.click("#offline")
    await ada.shows("#connection", "offline")
    await bob.shows("#people li", "Bob server B")
    await bob.page.click("#burst")
    await bob.shows("#talk li.waiting")
    await ada.say("I am in a tunnel.")
    await ada.shows("#talk li.waiting p", "I am in a tunnel.")
    assert await ada.said() == []
    await ada.page.click("#offline")
    await shows_notice(ada, BACK)
    # In order, and each once.
    for tab in (ada, bob):
        await tab.shows("#talk li[data-server] p", *BURST, "I am in a tunnel.")
        await tab.shows("#people li", "Ada server A", "Bob server B")
        await tab.shows("#lost", "0")
    said = ada.told("said")
    assert len({event["position"] for event in said}) == len(said)
    # What Bob's page does not hear back soon, it says again with the same id.
    texts = {event["said"]["id"]: event["said"]["text"] for event in said}
    assert list(texts.values()) == [*BURST, "I am in a tunnel."]
