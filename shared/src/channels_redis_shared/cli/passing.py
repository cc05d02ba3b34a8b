"""Passes test messages through a layer."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ..transport.sharding import shard_of
from .findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seconds that a message may take.
PATIENCE = 5
_TYPE = "doctor.test"


async def pass_messages(layer: Any, shard: int, shards: int) -> list[Finding]:
    """Send a message to a channel and one to a group that live on one host of a layer.

    Args:
        layer: The layer.
        shard: The index of the host.
        shards: How many hosts the layer has.
    """
    try:
        channel = await _channel_on(layer, shard, shards)
    except (RedisError, OSError) as error:
        return [_failed("message", error)]
    group = next(name for name in _names() if shard_of(name, shards) == shard)
    return [
        await _pass(layer, "message", channel, layer.send, channel),
        await _pass_to_group(layer, channel, group),
    ]


async def _pass_to_group(layer: Any, channel: str, group: str) -> Finding:
    try:
        await layer.group_add(group, channel)
        found = await _pass(layer, "group message", channel, layer.group_send, group)
        await layer.group_discard(group, channel)
    except (RedisError, OSError) as error:
        return _failed("group message", error)
    return found


async def _pass(layer: Any, what: str, channel: str, send: Any, to: str) -> Finding:
    token = secrets.token_hex(8)
    started = time.perf_counter()
    try:
        await send(to, {"type": _TYPE, "token": token})
        message = await asyncio.wait_for(layer.receive(channel), PATIENCE)
    except asyncio.TimeoutError:
        return Finding(
            Level.ERROR,
            what,
            f"it was sent, and did not arrive within {PATIENCE} s",
            "mend what else is found here; if that does not help, report it with this output",
        )
    except (RedisError, OSError) as error:
        return _failed(what, error)
    taken = 1000 * (time.perf_counter() - started)
    if message != {"type": _TYPE, "token": token}:
        return Finding(
            Level.ERROR,
            what,
            f"another message arrived: {message!r}",
            "report it with this output",
        )
    return Finding(Level.OK, what, f"arrived after {taken:.1f} ms")


def _failed(what: str, error: Exception) -> Finding:
    return Finding(
        Level.ERROR,
        what,
        f"{type(error).__name__}: {error}",
        "mend what else is found here; the page on operations explains each error",
    )


async def _channel_on(layer: Any, shard: int, shards: int) -> str:
    """Return a new channel that lives on this host: on which one a name does can't be chosen."""
    for name in _names():
        channel: str = await layer.new_channel(name)
        address = channel[: channel.find("!") + 1] or channel
        if shard_of(address, shards) == shard:
            return channel
    raise AssertionError  # there are names without end


def _names() -> Iterator[str]:
    token = secrets.token_hex(4)
    return (f"doctor-{token}-{number}" for number in itertools.count())
