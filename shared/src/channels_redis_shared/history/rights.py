"""The rights that the history of groups needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..transport.commands import Script

if TYPE_CHECKING:
    from ..transport.commands import Command


def history_commands(layer: Any, token: str) -> list[Command]:
    """Return the commands of a layer's histories and their scripts, if it keeps any.

    They leave nothing behind: keys that expire at once are deleted.
    """
    if "history" not in layer.extensions:
        return []
    stream, position, times = (f"{layer.prefix}$doctor.{token}.history.{n}" for n in range(3))
    script = Script.of("return 1")
    return [
        script.load,
        script.call((stream,)),
        ("TIME",),
        ("GET", position),
        ("SET", position, "", "EX", 60),
        ("XADD", stream, "*", "n", ""),
        ("XREVRANGE", stream, "+", "-", "COUNT", 1),
        ("XRANGE", stream, "-", "+"),
        ("ZADD", times, 1, "a"),
        ("ZRANGEBYSCORE", times, "-inf", "+inf"),
        ("EXPIRE", times, 0),
        ("EXPIRE", stream, 0),
        ("EXPIRE", position, 0),
    ]
