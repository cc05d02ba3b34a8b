"""The option `history`: patterns of groups, and how much is kept of them."""

from __future__ import annotations

import re

import pytest

from channels_redis_shared.history.rules import HistoryRules, Limits


def test_the_first_match_counts() -> None:
    """Globs and compiled patterns, in their order; limits that are left out have defaults."""
    rules = HistoryRules(
        {"chat.private.*": {"size": 5, "ttl": 6}, re.compile(r"chat\."): {"ttl": 7}, "board": {}}
    )
    assert rules.limits("chat.private.1") == Limits(5, 6)
    assert rules.limits("chat.1") == Limits(100, 7)
    assert rules.limits("board") == Limits(100, 300)
    assert rules.limits("boards") is None


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("chat.*", "history must be a dict of group name pattern to limits"),
        (["chat.*"], "such as {'chat.*': {'size': 100, 'ttl': 300}}, not ['chat.*']"),
        ({b"chat": {}}, "history has a pattern of the wrong type, b'chat': write a glob"),
        ({re.compile(b"chat"): {}}, "history has a pattern of the wrong type"),
        ({"chat": 100}, "history['chat'] must be a dict such as {'size': 100, 'ttl': 300}"),
        ({"chat": {"sizes": 1}}, "history['chat'] has no limit 'sizes'; did you mean 'size'?"),
        ({"chat": {"seconds": 1}}, "history['chat'] has no limit 'seconds': write size and ttl"),
        ({"chat": {"size": 0}}, "history['chat']['size'] must be an integer from 1"),
        ({"chat": {"ttl": "60"}}, "history['chat']['ttl'] must be an integer from 1"),
    ],
)
def test_wrong_options_are_refused(option: object, text: str) -> None:
    """Each mistake is a ValueError that says what to write instead."""
    with pytest.raises(ValueError, match=re.escape(text)):
        HistoryRules(option)
