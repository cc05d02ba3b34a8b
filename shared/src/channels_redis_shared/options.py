"""Whether the options of a layer and the messages given to it are valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

RESERVED_KEYS = ("__asgi_channel__", "__asgi_group__")


class _WrongMessage(TypeError, AssertionError):
    """Raised when a message is not a dict; also an AssertionError, as it is in channels_redis."""


class _ReservedKey(ValueError, AssertionError):
    """Raised when a message has a key of the layers'; an AssertionError too, for the same reason."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, or ``""``."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def refuse_unknown(options: Mapping[str, Any], known: Iterable[str], layer: str) -> None:
    """Raise TypeError for the first of ``options`` that is not in ``known``.

    ``layer`` is the name of the layer's class, for the error's text.
    """
    known = sorted(known)
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f". Its options are: {', '.join(known)}"
            msg = f"{layer} has no option {name!r}{hint}"
            raise TypeError(msg)


def require_positive_int(name: str, value: object) -> None:
    """Raise ValueError if ``value`` is not an integer of at least 1."""
    _require_int(name, value, minimum=1)


def require_prefix(value: object) -> None:
    """Raise ValueError if ``value`` cannot be the prefix of a layer's keys.

    Keys that belong together must share a slot of a Redis Cluster: braces in the prefix decide
    which one, so they must form a valid hash tag.
    """
    if not isinstance(value, str):
        msg = f"prefix must be a str, such as 'asgi', not {_described(value)}"
        raise ValueError(msg)
    if "{" not in value and "}" not in value:
        return
    tag = value.partition("{")[2].partition("}")
    if not tag[0] or not tag[1]:
        msg = (
            f"the braces in prefix {value!r} form no hash tag of Redis Cluster. "
            "Write a prefix without braces, such as 'asgi', or one with text between the first "
            "'{' and the '}' that follows it, such as '{asgi}'"
        )
        raise ValueError(msg)


def require_random_prefix_length(value: object) -> None:
    """Raise ValueError if ``value`` is not a number of bytes: an integer of at least 0."""
    _require_int("random_prefix_length", value, minimum=0)


def require_channel_capacity(value: object) -> None:
    """Raise ValueError if ``value`` is not None or a dict of channel name pattern to capacity.

    A pattern is a glob, such as ``"http.request*"``, or a compiled regular expression.
    """
    if value is None:
        return
    if not isinstance(value, Mapping):
        msg = (
            "channel_capacity must be a dict of channel name pattern to capacity, "
            f"such as {{'thumbnails*': 500}}, not {_described(value)}"
        )
        raise ValueError(msg)
    for pattern, capacity in value.items():
        # The test for a compiled pattern is Channels' own; one of bytes would match no name.
        if not isinstance(getattr(pattern, "pattern", pattern), str):
            msg = (
                f"channel_capacity has a pattern of the wrong type, {_described(pattern)}: "
                "write a glob, such as 'thumbnails*', or a compiled regular expression of str"
            )
            raise ValueError(msg)
        _require_int(f"channel_capacity[{pattern!r}]", capacity, minimum=1)


def require_message(message: object) -> None:
    """Raise an error if ``message`` cannot be sent.

    Raises:
        TypeError: ``message`` is not a dict.
        ValueError: it has a key that the layers keep for themselves.

    Both are AssertionErrors as well.
    """
    if not isinstance(message, dict):
        msg = (
            f"a message must be a dict, such as {{'type': 'chat.message'}}, "
            f"not {_described(message)}"
        )
        raise _WrongMessage(msg)
    for key in RESERVED_KEYS:
        if key in message:
            msg = f"the message key {key!r} is reserved for channel layers: name it otherwise"
            raise _ReservedKey(msg)


def _require_int(name: str, value: object, *, minimum: int) -> None:
    # A bool is an int to Python, but True as a number of seconds is a mistake.
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        msg = f"{name} must be an integer of at least {minimum}, not {_described(value)}"
        raise ValueError(msg)


def _described(value: object) -> str:
    """Return a short text that shows a value of a wrong type or size."""
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
