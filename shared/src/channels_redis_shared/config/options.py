"""Check the options of a layer, and the arguments of its methods."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping

# Channels' own patterns end in `$`, which also matches before a final newline: "room\n" would be a
# valid name.
CHANNEL_NAME = re.compile(r"^[a-zA-Z\d\-_.]+(![\w\-.]*)?\Z")
GROUP_NAME = re.compile(r"^[a-zA-Z\d\-_.]+\Z")

_ARGUMENTS = "user.*|password|.*provider|db|protocol|client_.*|connection_.*|retry.*|ss.*|socket_.*"
# Patterns of options that belong in an entry of `hosts`, and such an entry.
_IN_HOSTS = (
    ("cluster", '{"cluster": [("node1", 7000)]}'),
    ("sentinel.*|master_name", '{"sentinels": [("sentinel1", 26379)], "master_name": "main"}'),
    ("address|url|redis_url|location", '{"address": "redis://localhost:6379/0"}'),
    ("host|port|path|connection_.*kwargs", '{"host": "localhost", "port": 6379, "db": 0}'),
    (_ARGUMENTS, '{"host": "localhost", "port": 6379, "NAME": ...}'),
)

# Channels that one group message may leave out.
MAX_EXCLUDED = 16

# The most seconds that a server and its scripts accept: 68 years.
_HIGHEST = 2**31 - 1
# The similarity, from 0 to 1, of a name to one that it is taken for.
_NEAR = 0.8
# Longer values are not shown in an error's text.
_LONGEST_REPR = 40


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known name nearest to `name`, or `""`."""
    nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_NEAR)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def keyword_names(function: Callable[..., object]) -> list[str]:
    """Return the names of the arguments that a function takes by keyword."""
    found = inspect.signature(function).parameters.values()
    return [one.name for one in found if one.kind in {one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY}]


def refuse_unknown(unknown: Collection[str], init: Callable[..., object], layer: str) -> None:
    """Raise TypeError if there are unknown options.

    Args:
        unknown: The options that `init` does not name.
        init: The `__init__` of a layer.
        layer: The name of the layer's class.
    """
    for name in unknown:
        entries = (entry for names, entry in _IN_HOSTS if re.fullmatch(f"(?i){names}", name))
        known = sorted(keyword_names(init)[1:])  # without `self`
        if entry := next(entries, None):
            advice = f': write it in hosts, as in "hosts": [{entry.replace("NAME", name)}]'
        elif name in {"on_disconnect", "on_reconnect", "sharded_pubsub"}:
            advice = ", which only the Pub/Sub layer has: leave it out"
        else:
            # An option in capitals is not near to any other.
            advice = did_you_mean(name.lower(), known) or f". Its options are: {', '.join(known)}"
        raise TypeError(f"{layer} has no option {name!r}{advice}")


def checked_int(name: str, value: object, *, lowest: int = 1) -> int:
    """Return `value` as an integer; raise ValueError unless it is from `lowest` to 2147483647."""
    if isinstance(value, float) and value.is_integer():
        # Settings divide, such as 3600 / 6.
        value = int(value)
    # bool is a subclass of int, but True seconds are a mistake.
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _HIGHEST:
        raise ValueError(
            f"{name} must be an integer from {max(lowest, 0)} to {_HIGHEST}, not {described(value)}"
        )
    return value


def require_prefix(value: object) -> None:
    """Raise ValueError if `value` cannot be the prefix of a layer's keys.

    Braces must form a hash tag: in a Redis Cluster they decide the slot, which related keys share.
    """
    if not isinstance(value, str):
        raise ValueError(f"prefix must be a str, such as 'asgi', not {described(value)}")
    if not re.match(r"[^{}]*\Z|[^{]*\{[^}]+\}", value):
        raise ValueError(
            f"the braces in prefix {value!r} are not a hash tag of Redis Cluster. Write a prefix "
            "without braces, such as 'asgi', or with text in them, such as '{asgi}'"
        )


def random_prefix_length(value: object) -> int:
    """Return `value` as a number of bytes, at least 0; raise ValueError if it is not an integer.

    channels_redis 4 accepts negative numbers, too.
    """
    return max(0, checked_int("random_prefix_length", value, lowest=-_HIGHEST))


def require_message_type(name: str, value: object) -> None:
    """Raise ValueError if `value` is neither None nor a message's `type`."""
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(
            f"{name} must be the type of a message, such as 'redis.notice', not {value!r}"
        )


def excluded_channels(exclude: object, require_channel: Callable[[str], object]) -> list[str]:
    """Return the channels to exclude from a group message as a list.

    Args:
        exclude: The argument of `group_send`.
        require_channel: Raises TypeError for an invalid channel name.

    Raises:
        TypeError: `exclude` is not an iterable of channel names.
        ValueError: It has too many.
    """
    if isinstance(exclude, (str, bytes)) or not isinstance(exclude, Iterable):
        raise TypeError(f"exclude must be a list of channel names, not {described(exclude)}")
    names = list(exclude)
    if len(names) > MAX_EXCLUDED:
        raise ValueError(f"exclude takes at most {MAX_EXCLUDED} channels, not {len(names)}")
    for name in names:
        require_channel(name)
    return names


def require_channel_capacity(value: object) -> None:
    """Raise ValueError if `value` is not None or a dict of channel name pattern to capacity.

    A pattern is a glob, such as `"http.request*"`, or a compiled regular expression.
    """
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise ValueError(
            "channel_capacity must be a dict of channel name pattern to capacity, "
            f"such as {{'thumbnails*': 500}}, not {described(value)}"
        )
    for pattern, capacity in value.items():
        require_pattern("channel_capacity", pattern, "thumbnails*")
        checked_int(f"channel_capacity[{pattern!r}]", capacity)


def require_pattern(option: str, pattern: object, example: str) -> None:
    """Raise ValueError unless `pattern` is a glob or a compiled regular expression of str."""
    # A compiled pattern of bytes would match no name.
    if not isinstance(getattr(pattern, "pattern", pattern), str):
        raise ValueError(
            f"{option} has a pattern of the wrong type, {described(pattern)}: "
            f"write a glob, such as {example!r}, or a compiled regular expression of str"
        )


def described(value: object) -> str:
    """Return a short description of an invalid value."""
    text = repr(value)
    return text if len(text) <= _LONGEST_REPR else f"a {type(value).__name__}"
