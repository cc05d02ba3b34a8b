"""Options: values in addition to those that `manage.py check` is tested with."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("value", [-1, 1.5, float("inf"), float("nan"), True, 2**31])
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
    ("value", "text"),
    [
        ({5: 5}, "pattern of the wrong type, 5: write a glob"),
        ({re.compile(b"x"): 5}, "pattern of the wrong type, re.compile"),
        ({"a": 1, "b": 0}, "channel_capacity['b'] must be an integer from 1"),
    ],
)
def test_wrong_channel_capacity_is_refused(value: dict[Any, Any], text: str) -> None:
    """Wrong patterns and capacities are a ValueError that says which one it is."""
    with pytest.raises(ValueError, match=re.escape(text)):
        require_channel_capacity(value)


def test_reserved_key_is_an_assertion_error_too() -> None:
    """For code written for channels_redis 4; the position that an event may have is not refused."""
    with pytest.raises(AssertionError, match="'__asgi_channel__' is reserved"):
        sendable({"__asgi_position__": "1-1.0", "__asgi_channel__": "y"})
