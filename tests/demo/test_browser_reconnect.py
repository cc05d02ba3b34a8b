"""Redis goes away and comes back empty, and people see what that means for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.tab import DEADLINE
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from demo.conftest import Demo, OpenTab
    from support.tab import Tab

    StartDemo = Callable[..., Awaitable[Demo]]

pytestmark = pytest.mark.timeout(180)

PULLED = "You pulled the plug: Redis is gone for three seconds, and comes back empty."
LOST = "The layer lost its connection to Redis. What others say now may get lost."
AGAIN = "The layer is connected again. Catching up with the others."
# Keeps what the page says of its connection, however short a time it says so.
KEEP = """
window.statuses = [];
new MutationObserver(() => statuses.push(connection.textContent))
  .observe(connection, { childList: true });
"""


async def talk_through_an_outage(demo: Demo, ada: Tab, bob: Tab) -> None:
    """Pull the plug, say something while Redis is away, and go on talking when it is back."""
    await ada.page.click("#plug")
    await demo.read_until("Redis is gone.")
    await bob.say("Still there?")
    await bob.shows("#talk li.waiting small", "on its way")
    assert "Redis is back" not in demo.output
    for tab in (ada, bob):
        await tab.shows("#talk li[data-server] p", "Still there?")
    await bob.shows("#talk li.waiting")
    await demo.read_until("Redis is back, empty.")
    await ada.say("Still here.")
    await bob.shows("#talk li[data-server] p", "Still there?", "Still here.")
    await bob.say("Me too.")
    # Each once, although the page says again what it has not heard itself.
    for tab in (ada, bob):
        await tab.shows("#talk li[data-server] p", "Still there?", "Still here.", "Me too.")
        await tab.shows("#people li", "Ada server A", "Bob server B")
        await tab.shows("#connection", "connected")


async def test_with_the_queue_layer(start_demo: StartDemo, open_tab: OpenTab) -> None:
    """The talk goes on: what is said meanwhile arrives, and no page need do anything."""
    demo = await start_demo("--layer", "queue")
    urls = await demo.urls()
    ada = await open_tab(urls["A"], "Ada")
    bob = await open_tab(urls["B"], "Bob")
    await bob.shows("#people li", "Ada server A", "Bob server B")
    await talk_through_an_outage(demo, ada, bob)
    assert await ada.texts("#talk .notice") == [PULLED]
    assert await bob.texts("#talk .notice") == []


async def test_with_pubsub(start_demo: StartDemo, open_tab: OpenTab) -> None:
    """Both pages say that the layer lost Redis and found it again, and then catch up."""
    demo = await start_demo("--layer", "pubsub")
    urls = await demo.urls()
    ada = await open_tab(urls["A"], "Ada")
    bob = await open_tab(urls["B"], "Bob")
    await bob.shows("#people li", "Ada server A", "Bob server B")
    await ada.page.evaluate(KEEP)
    await talk_through_an_outage(demo, ada, bob)
    await ada.shows("#talk .notice", PULLED, LOST, AGAIN)
    await bob.shows("#talk .notice", LOST, AGAIN)
    statuses = await ada.page.evaluate("statuses")
    assert statuses[0] == "Redis is away"
    assert statuses[-1] == "connected"
    await eventually(lambda: caught_up(ada) and caught_up(bob), DEADLINE)


def caught_up(tab: Tab) -> bool:
    """Return whether the page got who is here, and what was said, since the reconnect."""
    kinds = [event["kind"] for event in tab.events]
    return {"list", "before"} <= set(kinds[kinds.index("reconnected") :])
