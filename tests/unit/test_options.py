from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import pytest

from channels_redis_shared.config.options import (
    checked_int,
    random_prefix_length,
    require_channel_capacity,
    require_prefix,
)
from channels_redis_shared.messages.serializers import sendable


def test_float_without_a_fraction_becomes_an_integer() -> None:
    """Settings divide; Redis takes no 10.0 as a number of seconds."""
    assert repr(checked_int("expiry", 60 / 6)) == "10"


@pytest.mark.parametrize(
    "value", [0, -1, 0.1, 1.5, float("inf"), float("nan"), "60", None, True, 2**31]
)
def test_other_values_than_positive_integers_are_refused(value: object) -> None:
    """Anything else is a ValueError that names the option, the range and the value."""
    expected = f"expiry must be an integer from 1 to 2147483647, not {value!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        checked_int("expiry", value)


def test_long_value_is_not_shown_in_full() -> None:
    """The text of an error stays short, whatever was given."""
    with pytest.raises(ValueError, match=r"not a list$"):
        checked_int("expiry", ["x"] * 1000)


@pytest.mark.parametrize(("value", "length"), [(0, 0), (12, 12), (-1, 0), (8.0, 8)])
def test_random_prefix_may_have_any_length_and_none(value: float, length: int) -> None:
    """A length of 0 turns the random bytes off, as does a negative one in channels_redis."""
    assert random_prefix_length(value) == length


@pytest.mark.parametrize("value", [1.5, None, "12", False])
def test_random_prefix_length_must_be_a_number_of_bytes(value: object) -> None:
    """No other type is a length."""
    with pytest.raises(ValueError, match="random_prefix_length must be an integer from 0"):
        random_prefix_length(value)


@pytest.mark.parametrize("value", ["asgi", "", "my.app:", "{asgi}", "a{b}c", "x}{y}", "{a}{"])
def test_prefix_without_braces_or_with_a_hash_tag_is_accepted(value: str) -> None:
    """Text between the first brace that opens and the next that closes is a hash tag."""
    require_prefix(value)


@pytest.mark.parametrize("value", ["{", "}", "a{", "a}b", "{}", "{}{x}", "}x{", "a{b"])
def test_prefix_with_braces_that_form_no_tag_is_refused(value: str) -> None:
    """Braces in which a Cluster finds no tag would tear keys that belong together apart."""
    with pytest.raises(ValueError, match=r"are not a hash tag .* such as '\{asgi\}'"):
        require_prefix(value)


@pytest.mark.parametrize(
    "value",
    [None, {}, {"http.*": 5}, OrderedDict({re.compile("^jobs"): 1, "jobs?": 2})],
)
def test_channel_capacity_takes_globs_and_compiled_patterns(value: object) -> None:
    """Patterns of both kinds are valid, and none at all."""
    require_channel_capacity(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100, "must be a dict of channel name pattern to capacity"),
        ([("http.*", 5)], "must be a dict"),
        ({5: 5}, "pattern of the wrong type, 5: write a glob"),
        ({re.compile(b"x"): 5}, "pattern of the wrong type, re.compile"),
        ({"http.*": 0}, "channel_capacity['http.*'] must be an integer from 1"),
        ({"http.*": "5"}, "channel_capacity['http.*'] must be an integer from 1"),
        ({"a": 1, "b": None}, "channel_capacity['b'] must be an integer from 1"),
    ],
)
def test_wrong_channel_capacity_is_refused(value: object, text: str) -> None:
    """Wrong patterns and capacities are a ValueError that says which one it is."""
    with pytest.raises(ValueError, match=re.escape(text)):
        require_channel_capacity(value)


class _Message(dict[str, Any]):
    """A message of a user's own class."""


@pytest.mark.parametrize("message", [{}, {"type": "x"}, _Message(type="x")])
def test_dicts_are_messages(message: dict[str, Any]) -> None:
    """Dicts and those of subclasses can be sent."""
    assert sendable(message) is message


@pytest.mark.parametrize(
    "key", ["__asgi_channel__", "__asgi_exclude__", "__asgi_group__", "__asgi_leave__"]
)
@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_reserved_key_is_refused(key: str, kind: type[Exception]) -> None:
    """A ValueError names the key; it is an AssertionError for code written for channels_redis 4."""
    with pytest.raises(kind, match=f"'{key}' is reserved"):
        sendable({"type": "x", "__asgi_position__": "1-1.0", key: "y"})
