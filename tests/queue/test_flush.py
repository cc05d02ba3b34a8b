"""`flush` deletes the keys of its prefix, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.messages import joined, within
from support.queue_layers import Layers

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

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


@pytest.mark.parametrize(("prefix", "stranger"), SPECIAL)
async def test_special_characters(own_server: EmbeddedServer, prefix: str, stranger: str) -> None:
    """Every character of the prefix stands for itself."""
    layers = Layers(hosts=[own_server.url], prefix=prefix)
    layer = layers()
    await layer.send("jobs", {"type": "work"})
    await layer.group_add("room", "jobs")
    with own_server.client() as client:
        strangers = {f"{stranger}jobs", "other"}
        for key in strangers:
            client.set(key, "kept")
        await within(layer.flush())
        left = {key.decode() for key in client.keys("*") if isinstance(key, bytes)}
    assert left == strangers
    await layers.close()


@pytest.mark.parametrize("prefix", ["shop", "{shop}", "shop:"])
async def test_keys_that_begin_with_the_prefix_by_chance(
    own_server: EmbeddedServer, prefix: str
) -> None:
    """Keys of other forms stay: those of other programs, and groups of layers next to this one."""
    layers = Layers(hosts=[own_server.url], prefix=prefix)
    layer = layers()
    other = layers(prefix=f"{prefix}-eu:")
    strangers = {f"{prefix}ping:cart:1", f"{prefix}:cart:1", f"{prefix} list", f"{prefix}{{x}}"}
    await joined(other, "room")
    await other.send("jobs", {"type": "work"})
    with own_server.client() as client:
        for key in strangers:
            client.set(key, "kept")
        client.set(prefix.encode() + b"\xff", "kept")
        client.zadd(f"{prefix}jobs$inflight", {"a": 1})
        before = {key for key in client.keys("*") if b"$inflight" not in key}
        await layer.send("jobs", {"type": "work"})
        await layer.group_add("room", await layer.new_channel())
        await layer.group_add("room", "jobs")
        assert set(client.keys("*")) > before
        await within(layer.flush())
        assert set(client.keys("*")) == before
    await layers.close()
