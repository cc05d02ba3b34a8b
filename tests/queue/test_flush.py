"""`flush` deletes the keys of its prefix, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.messages import joined, within

if TYPE_CHECKING:
    from support.queue_layers import Layers

# Each of these prefixes, as a pattern that is not escaped, matches the key next to it.
SPECIAL = [
    ("a*c", "abc"),
    ("a?c", "abc"),
    ("a[bx]c", "abc"),
    ("a[^x]c", "abc"),
    ("a[a-z]c", "abc"),
    ("a\\bc", "abc"),
    ("*", "abc"),
    ("[", "x"),
    ("a-c", "a-b"),
    ("ab\\", "abc"),
    ("{a*}c", "{ab}c"),
    ("ü*", "üb"),
    ("a b", "a-b"),
]


@pytest.mark.parametrize(
    ("prefix", "stranger"), [*SPECIAL, ("shop", "abc"), ("{shop}", "abc"), ("shop:", "abc")]
)
async def test_keys_of_others_stay(own_layers: Layers, prefix: str, stranger: str) -> None:
    """So do those of other forms: of other programs, and groups of layers next to this one."""
    layer = own_layers(prefix=prefix, history={"room": {}})
    other = own_layers(prefix=f"{prefix}-eu:", history={"room": {}})
    forms = ("ping:cart:1", ":cart:1", " list", "{x}")
    strangers = {f"{stranger}jobs", "other", *(f"{prefix}{form}" for form in forms)}
    await joined(other, "room")
    for send in (other.send, other.group_send):
        await send("room", {"type": "work"})
    with own_layers.server.client() as client:
        for key in strangers:
            client.set(key, "kept")
        client.set(prefix.encode() + b"\xff", "kept")
        client.zadd(f"{prefix}jobs$inflight", {"a": 1})
        before = {key for key in client.keys("*") if b"$inflight" not in key}
        await joined(layer, "room")
        await layer.group_add("room", "jobs")
        for send in (layer.send, layer.group_send):
            await send("room", {"type": "work"})
        assert set(client.keys("*")) > before
        await within(layer.flush())
        assert set(client.keys("*")) == before
