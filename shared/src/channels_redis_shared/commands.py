"""Makes bytes of commands."""

from __future__ import annotations

from typing import TypeAlias

Argument: TypeAlias = bytes | str | int | float
Command: TypeAlias = tuple[Argument, ...]


def pack(command: Command) -> bytes:
    """Return the command as it goes over the wire; several times faster than redis-py's own."""
    parts = [b"*%d" % len(command)]
    for argument in command:
        if isinstance(argument, str):
            data = argument.encode()
        elif isinstance(argument, bytes):
            data = argument
        else:
            data = repr(argument).encode()
        # Joined below, as formatting large data is slow.
        parts += (b"$%d" % len(data), data)
    parts.append(b"")
    return b"\r\n".join(parts)
