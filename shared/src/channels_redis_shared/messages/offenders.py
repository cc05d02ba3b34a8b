"""Which part of a message cannot be serialized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Enough to tell where to look; deeper, a nested message would take seconds to search.
_DEEPEST = 20


def find_offender(message: dict[str, Any], as_bytes: Callable[[dict[str, Any]], bytes]) -> str:
    """Return, for instance, `"message['user']['joined'] is of type datetime.datetime"`.

    The part is found by serializing smaller and smaller ones, so this works for each format.

    Args:
        message: A message for which `as_bytes` raises.
        as_bytes: Makes bytes of a message, or raises.
    """
    path, part = "message", message
    seen = {id(message)}
    while isinstance(part, dict | list | tuple):
        if len(seen) > _DEEPEST:
            return f"there is something deep in {path}"
        if isinstance(part, dict):
            for key in part:
                if not _succeeds(as_bytes, {key: None}):
                    return f"{path} has the key {key!r} of type {_type_name(key)}"
        name, child = _first_that_fails(part, as_bytes)
        if not name:
            break
        path, part = path + name, child
        if id(part) in seen:
            return f"{path} contains itself"
        seen.add(id(part))
    return f"{path} is of type {_type_name(part)}"


def _first_that_fails(
    part: dict[Any, Any] | list[Any] | tuple[Any, ...],
    as_bytes: Callable[[dict[str, Any]], bytes],
) -> tuple[str, Any]:
    """Return the index of the first failing child, as source code, and the child; or `""`."""
    for key, child in part.items() if isinstance(part, dict) else enumerate(part):
        if not _succeeds(as_bytes, {"": child}):
            return f"[{key!r}]", child
    return "", None


def _succeeds(as_bytes: Callable[[dict[str, Any]], bytes], message: dict[str, Any]) -> bool:
    try:
        as_bytes(message)
    except Exception:  # noqa: BLE001 - a registered format may raise anything
        return False
    return True


def _type_name(value: object) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
