"""The consumer of the page on presence, on both layers."""

from __future__ import annotations

import runpy
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from docs.conftest import DEADLINE
from support.chromium import launch
from support.pages import write_files

if TYPE_CHECKING:
    from pathlib import Path

    from docs.conftest import Connect

ANN, BOB = [{"name": "Ann"}], [{"name": "Bob"}]


def listed(at: int, **people: Any) -> dict[str, Any]:
    """A list, as the page's consumer sends it."""
    return {"people": people, "at": at}


def came(at: int, **people: Any) -> dict[str, Any]:
    """A message of people who joined."""
    return diff(at, people, {})


def left(at: int, **people: Any) -> dict[str, Any]:
    """A message of people who left."""
    return diff(at, {}, people)


def diff(at: int, joins: dict[str, Any], leaves: dict[str, Any]) -> dict[str, Any]:
    """A message of the group."""
    times = dict.fromkeys([*joins, *leaves], at)
    return {"type": "presence.diff", "group": "x", "joins": joins, "leaves": leaves, "at": times}


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Any]:
    """All that the page's file defines."""
    if not settings.configured:
        settings.configure()
    write_files("presence.md", tmp_path)
    return runpy.run_path(str(tmp_path / "consumers.py"))


async def join(consumer: Any, connect: Connect, user: Any, **session: str) -> tuple[Any, Any]:
    """Open a page; return its WebSocket, and who it says is there."""
    route = {"kwargs": {"room": "kitchen"}}
    socket = await connect(consumer, user=user, session=session, url_route=route)
    return socket, await socket.receive_json_from(timeout=DEADLINE)


async def test_page(page: dict[str, Any], connect: Connect) -> None:
    """Pages get a list, and then who comes and goes."""
    page["presence"].grace = 0.1
    user = partial(SimpleNamespace, is_authenticated=True)
    ann, listed = await join(page["Room"], connect, user(pk=7, username="Ann"))
    assert listed["people"] == {"7": [{"name": "Ann"}]}
    bob, listed = await join(page["Room"], connect, user(pk=9, username="Bob"))
    assert set(listed["people"]) == {"7", "9"}
    joined: set[str] = set()
    while joined != {"7", "9"}:
        diff = await ann.receive_json_from(timeout=DEADLINE)
        joined |= set(diff["joins"])
    await bob.disconnect(timeout=DEADLINE)
    diff = await ann.receive_json_from(timeout=DEADLINE)
    assert diff["leaves"] == {"9": [{"name": "Bob"}]}
    assert diff["at"]["9"] > listed["at"]


async def test_guests(
    page: dict[str, Any], connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tabs of a guest are one person, by the id that the view keeps in the session."""
    monkeypatch.setattr("django.shortcuts.render", lambda *_: None)
    view = runpy.run_path(str(tmp_path / "views.py"))["room"]
    sessions: list[dict[str, str]] = [{}, {}]
    for session in sessions:
        view(SimpleNamespace(session=session), "kitchen")
    guest = SimpleNamespace(is_authenticated=False)
    tabs = [sessions[0], *sessions]
    joined = [await join(page["Room"], connect, guest, **session) for session in tabs]
    _, listed = joined[-1]
    assert {key: len(metas) for key, metas in listed["people"].items()} == {
        sessions[0]["guest"]: 2,
        sessions[1]["guest"]: 1,
    }


# Messages to the page, in order, and the people that it then shows.
ARRIVALS: dict[str, tuple[list[dict[str, Any]], set[str]]] = {
    "list": ([listed(5, ann=ANN, bob=BOB)], {"ann", "bob"}),
    "join": ([listed(5, ann=ANN), came(6, bob=BOB)], {"ann", "bob"}),
    "leave": ([listed(5, ann=ANN, bob=BOB), left(6, bob=BOB)], {"ann"}),
    "join before the list": ([came(6, bob=BOB), listed(5, ann=ANN)], {"ann", "bob"}),
    "leave before the list": ([left(6, bob=BOB), listed(5, ann=ANN, bob=BOB)], {"ann"}),
    "older join before the list": ([came(4, bob=BOB), listed(5, ann=ANN)], {"ann"}),
    "older join": ([listed(5, ann=ANN), came(4, bob=BOB)], {"ann"}),
    "older leave": ([listed(5, ann=ANN), left(4, ann=ANN)], {"ann"}),
    "leave before the join": ([listed(5), left(8, ann=ANN), came(7, ann=ANN)], set()),
    "names of an object's own": (
        [listed(5, __proto__=BOB, constructor=ANN), left(6, __proto__=BOB, constructor=ANN)],
        set(),
    ),
    "newer list": ([listed(5), left(8, ann=ANN), came(9, ann=ANN), listed(12)], set()),
}


async def test_script(tmp_path: Path) -> None:
    """The page shows the newest that it knows of each person, in whatever order it comes."""
    write_files("presence.md", tmp_path)
    script = (tmp_path / "people.js").read_text()
    async with launch() as browser:
        tab = await browser.new_page()
        for name, (messages, people) in ARRIVALS.items():
            shown = await tab.evaluate(
                """([script, messages]) => {
                    const socket = {};
                    let shown;
                    const show = (people) => { shown = people.map(([key]) => key); };
                    new Function("socket", "show", script)(socket, show);
                    for (const one of messages) socket.onmessage({ data: JSON.stringify(one) });
                    return shown;
                }""",
                [script, messages],
            )
            assert set(shown) == people, name
