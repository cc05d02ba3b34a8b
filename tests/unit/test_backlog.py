"""Messages held back for a channel arrive in order, in whichever order its groups are read."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from channels_redis_shared.history.backlog import Backlog, Wait


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_waits_that_end_in_any_order(order: tuple[int, ...]) -> None:
    """Missed messages take the place of their wait: after earlier ones, before later ones."""
    got: list[str] = []
    mailboxes: Any = SimpleNamespace(put=lambda _, item, *__: got.append(item))
    backlog = Backlog(mailboxes)
    waits = [Wait("channel") for _ in range(3)]
    for number, wait in enumerate(waits):
        backlog.begin(wait)
        backlog.put(("channel",), f"after {number}")
    for number in order:
        backlog.put(("channel",), f"missed {number}", awaited={"channel": waits[number]})
        backlog.end((waits[number],))
    backlog.put(("channel",), "last")
    assert got == [f"{what} {n}" for n in range(3) for what in ("missed", "after")] + ["last"]
    assert not backlog.waits
