"""The option `history`: the groups that keep a history, and its limits."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ..config import options

# Groups whose match is remembered.
CACHE_SIZE = 1000
EXAMPLE = "{'chat.*': {'size': 100, 'ttl': 300}}"


class Limits(NamedTuple):
    """The limits of a group's history."""

    # The number of messages.
    size: int = 100
    # Seconds after the latest message.
    ttl: int = 300


class HistoryRules:
    """The groups that keep a history, by pattern.

    Args:
        option: A dict with globs or compiled patterns as keys, and dicts of `Limits` as values. The
            first match counts.

    Raises:
        ValueError: It is something else.
    """

    def __init__(self, option: object) -> None:
        if option is not None and not isinstance(option, Mapping):
            raise ValueError(
                f"history must be a dict of group name pattern to limits, such as {EXAMPLE}, "
                f"not {options.described(option)}"
            )
        self._rules = [
            (_compiled(pattern), _limits(pattern, value))
            for pattern, value in (option or {}).items()
        ]
        # Asked with every message.
        self.limits = lru_cache(CACHE_SIZE)(self._find)

    def _find(self, group: str) -> Limits | None:
        """Return the limits of a group; None if it keeps no history."""
        return next((limits for pattern, limits in self._rules if pattern.match(group)), None)


def _compiled(pattern: object) -> re.Pattern[str]:
    options.require_pattern("history", pattern, "chat.*")
    return re.compile(fnmatch.translate(pattern)) if isinstance(pattern, str) else pattern  # type: ignore[return-value]  # it is one


def _limits(pattern: object, value: object) -> Limits:
    name = f"history[{pattern!r}]"
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name} must be a dict such as {{'size': 100, 'ttl': 300}}, "
            f"not {options.described(value)}"
        )
    for key in value:
        if key not in Limits._fields:
            advice = options.did_you_mean(str(key), Limits._fields)
            raise ValueError(f"{name} has no limit {key!r}{advice or ': write size and ttl'}")
    return Limits(
        **{key: options.checked_int(f"{name}[{key!r}]", number) for key, number in value.items()}
    )
