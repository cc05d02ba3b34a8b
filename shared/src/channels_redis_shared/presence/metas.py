"""Write and read the metas of people, as Redis and messages have them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from ..transport.commands import CommandClient

# Bytes of a meta as JSON. Every page of the group gets each of them.
MAX_META_BYTES = 4096
# Levels of lists and dicts in a meta. A message nests it deeper, and one that can't be read is lost
# with all its people.
MAX_META_DEPTH = 100
# People that one reply has, at about.
SCAN_COUNT = 500


def encode_meta(layer: Any, meta: Any) -> str:
    """Return a meta as JSON.

    Raises:
        TypeError: JSON or a message of the layer can't hold it, or it is too large.
    """
    try:
        encoded = json.dumps(meta, separators=(",", ":"), allow_nan=False)
        plain = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise TypeError(
            f"the meta must be JSON, which has neither NaN nor Infinity nor cycles: {error}"
        ) from error
    if len(encoded) > MAX_META_BYTES:
        raise TypeError(
            f"the meta has {len(encoded)} bytes as JSON, and the limit is {MAX_META_BYTES}: every "
            "page of the group gets it, so pass an id, and let pages ask for the rest"
        )
    if _is_deeper(plain, MAX_META_DEPTH):
        raise TypeError(f"the meta is nested deeper than {MAX_META_DEPTH} lists and dicts")
    layer.serialize({"type": "presence.diff", "meta": plain})
    return encoded


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, (list, dict)):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(part, depth - 1) for part in parts)


def array(metas: Sequence[str]) -> str:
    """Return a JSON array; empty text if there are none, as for a person who is not present."""
    return f"[{','.join(metas)}]" if metas else ""


def lines_of(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the processes that have a person in Redis, each with a JSON array of the metas."""
    for line in value.split(b"\n"):
        process, bracket, rest = line.partition(b"[")
        yield process, bracket + rest


def encoded_in(data: bytes) -> list[str]:
    """Return the metas in a JSON array, each as JSON."""
    return [json.dumps(meta, separators=(",", ":")) for meta in metas_in(data)]


def metas_in(data: bytes) -> list[Any]:
    """Return the metas in a JSON array; none if it can't be read."""
    try:
        metas = json.loads(data)
    except (ValueError, RecursionError):
        return []
    return metas if isinstance(metas, list) else []


async def scan(commands: CommandClient, key: str) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the people of a group, some twice, each with its lines; or the groups of a part."""
    cursor = b"0"
    while True:
        command = ("HSCAN", key, cursor, "COUNT", SCAN_COUNT)
        cursor, found = await commands.execute(command, key=key, idempotent=True)
        for person, lines in zip(found[::2], found[1::2], strict=True):
            if person:  # else it is the time of the latest change
                yield person, lines
        if cursor == b"0":
            return


def text(name: bytes) -> str:
    """Return a name from Redis; bytes that are no text end in none that is known."""
    return name.decode(errors="replace")
