"""Commands and Lua scripts, encoded in RESP."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from redis.exceptions import NoPermissionError, ResponseError

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Argument: TypeAlias = bytes | str | int | float
Command: TypeAlias = tuple[Argument, ...]


def pack_in_python(command: Command) -> bytes:
    """Encode a command in RESP without hiredis, several times faster than redis-py."""
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


# Encode a command in RESP. hiredis before 2.2 has no such function.
pack: Callable[[Command], bytes] = getattr(hiredis, "pack_command", pack_in_python)

# By hash, to name the command that an error is about.
_sources: dict[str, str] = {}


@dataclass(frozen=True)
class Script:
    """A Lua script, sent by its hash."""

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        """Return the script with this Lua source."""
        sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - Redis's name for it
        _sources[sha] = source
        return cls(source, sha)

    @property
    def load(self) -> Command:
        """The command that loads the script."""
        return ("SCRIPT", "LOAD", self.source)

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Return the command that runs the loaded script."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def call_with_source(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Return the command that runs the script, loaded or not."""
        return ("EVAL", self.source, len(keys), *keys, *arguments)


def name_keys(error: Exception, packed: bytes) -> Exception:
    """Add the keys of its command to an error about a key of a wrong type.

    Args:
        error: The error that the server replied.
        packed: The packed command.
    """
    if not isinstance(error, ResponseError) or "WRONGTYPE" not in str(error):
        return error
    _, name, *arguments = (word for word in packed.split(b"\r\n")[::2] if word)
    keys = arguments[:1]
    if name in {b"EVAL", b"EVALSHA"}:
        keys = arguments[2 : 2 + int(arguments[1])]
    shown = ", ".join(key.decode(errors="backslashreplace") for key in keys)
    return error if shown in str(error) else ResponseError(f"{error}: {shown}")


def name_forbidden(error: ResponseError) -> ResponseError:
    """Name the command that a user may not call in a script.

    Redis 6 reports the line of the script, not the command.
    """
    found = re.search(
        r"call to f_(\w+)\): @user_script:(\d+):.* can't run this command", str(error)
    )
    if found is None or found[1] not in _sources:
        return error
    line = _sources[found[1]].splitlines()[int(found[2]) - 1]
    called = re.search(r"redis\.call\('(\w+)'", line)
    command = called[1].lower() if called else line.strip()
    return NoPermissionError(f"this user has no permissions to run the {command!r} command")
