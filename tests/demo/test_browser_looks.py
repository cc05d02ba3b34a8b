"""The page on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from demo.conftest import Demo, OpenTab

    StartDemo = Callable[..., Awaitable[Demo]]

pytestmark = [pytest.mark.demo, pytest.mark.timeout(180)]

PHONES = {"small": (320, 568), "usual": (375, 667), "large": (430, 932), "lying": (667, 375)}
NEEDED = (
    "#plug",
    "#connection",
    "#name",
    "#rooms button",
    "#people li",
    "dd",
    "#text",
    "text=Send",
)


@pytest.fixture
async def server(start_demo: StartDemo) -> str:
    """Return the URL of a server of the demo."""
    return (await (await start_demo()).urls())["A"]


async def test_on_a_phone(open_tab: OpenTab, server: str) -> None:
    """Nothing is wider than the screen, and all that one needs can be seen and touched."""
    tab = await open_tab(server, "Ada", has_touch=True, is_mobile=True)
    page = tab.page
    await page.fill("#text", "A long word: " + "o" * 300)
    await page.tap("text=Send")
    for number in range(10):
        await tab.say(f"Message {number}")
    await tab.shows("#talk li:last-child[data-server] p", "Message 9")
    # Phones zoom in on an input whose letters are smaller, and stay there.
    assert await page.evaluate("getComputedStyle(text).fontSize") == "16px"
    for phone, (width, height) in PHONES.items():
        await page.set_viewport_size({"width": width, "height": height})
        widths = await page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        assert widths == [width, width], phone
        for needed in NEEDED:
            element = page.locator(needed).first
            await element.scroll_into_view_if_needed()
            assert inside(await element.bounding_box(), width, height), (phone, needed)


def inside(box: Any, width: int, height: int) -> bool:
    """Return whether a box exists and is completely on the screen, up to a pixel."""
    if box is None:
        return False
    right, bottom = box["x"] + box["width"], box["y"] + box["height"]
    return bool(min(box["x"], box["y"]) > -1 and right < width + 1 and bottom < height + 1)
