"""Track who is in a group, across all processes: people, not channels.

A person may have several connections, in several processes. Members of `<group>.presence` get a
message when a person's first connection is tracked, and when the last one has ended for `grace`
seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from channels.layers import get_channel_layer

from ..brokers import ProcessLocal
from ..concurrency import running_loop
from ..transport.commands import shard_of
from .keys import PARTS, PresenceKeys, part_of
from .metas import encode_meta, lines_of, metas_in, scan, text
from .shard import SUFFIX, ShardPresence

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..transport.commands import CommandClient

__all__ = ["People", "Presence"]

GRACE = 15.0  # seconds
MAX_KEY_BYTES = 512
# Digits of a time in microseconds in Redis; anything else may stand there.
MAX_DIGITS = 20
# Of Django's sessions: 32 letters and digits, or signed data with `signed_cookies`. A UUID without
# hyphens has as many, but no letter above f.
SESSION_KEY = re.compile(r"(?=.*[g-z])[a-z0-9]{32}|\.?[\w-]+:[a-zA-Z0-9]{6}:[\w-]{43}")
# Without the key: errors are logged.
NO_SESSION_KEY = (
    "key looks like the key of a Django session, with which any page of the group could act as its "
    "visitor: pass an id made for it and kept in the session, such as secrets.token_hex(8). "
    "If it is another id, pass it with a prefix, such as 'user-'"
)


class People(dict[str, list[Any]]):
    """The people of a group by key, each with the metas of all connections.

    Attributes:
        at: The time of the list. A diff that is older, by its own `at` for a key, is part of it.
    """

    at: int = 0


class Presence:
    """The people in the groups of a channel layer of channels-redis.

    Args:
        alias: The alias of the layer in `CHANNEL_LAYERS`.
        grace: Seconds after the end of a person's last connection until the person leaves, so that
            a page that is loaded again neither leaves nor joins.
    """

    def __init__(self, alias: str = "default", *, grace: float = GRACE) -> None:
        if grace < 0:
            raise ValueError(f"grace must be a number of seconds, not {grace!r}")
        self.alias = alias
        self.grace = grace

    async def track(self, group: str, channel: str, key: str | int, meta: Any = None) -> None:
        """Say that a person is in a group, as long as a channel lives.

        Members of `<group>.presence` get a diff with the person among its `joins`, unless the
        person is there already. A second call for the same channel replaces its meta and sends
        that in the same way.

        Keys and metas are public: every page of the group may get them. Never pass a secret. A
        session key is one, since it is the visitor's cookie: it is refused as a key.

        Args:
            group: The group, up to 90 characters.
            channel: A channel of this process, such as a consumer's `channel_name`. It ends with
                its consumer; one that has ended before, or is never received on, ends after the
                layer's `channel_expiry` (60 s).
            key: Who it is, such as a user's id, or a random one for a guest. Up to 512 bytes;
                a string in messages and lists.
            meta: What others may know: any JSON value of up to 4,096 bytes, nested up to 100 deep.

        Raises:
            TypeError: The group, the key or the meta is invalid, or the layer is none of
                channels-redis.
            ValueError: The key looks like the key of a Django session.
            redis.exceptions.RedisError: As for the layer's `group_add`. It is written as soon as
                the server is back, if the channel still lives.
        """
        layer = self._layer(group)
        if isinstance(key, bool) or not isinstance(key, (str, int)) or key == "":
            raise TypeError(f"key must be a str with text or an int, such as a user's id: {key!r}")
        key = str(key)
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise TypeError(f"key must be text, without surrogate code points: {key!r}") from None
        if size > MAX_KEY_BYTES:
            raise TypeError(f"key must have at most {MAX_KEY_BYTES} bytes, not {size}: pass an id")
        if SESSION_KEY.fullmatch(key):
            raise ValueError(NO_SESSION_KEY)
        encoded = encode_meta(layer, meta)
        here = _here(layer)
        # All of them: each has its own heartbeats.
        for one in here.values():
            one.start()
        shard = shard_of(group, len(layer.hosts))
        part = part_of(group, layer.key_shards[shard])
        await here[shard, part].track(group, channel, key, encoded, self.grace)

    async def untrack(self, group: str, channel: str) -> None:
        """Take a channel from a group's people. A channel that ends does so by itself."""
        _call_all(_loops(self._layer(group)), ShardPresence.untrack, group, channel)

    async def list(self, group: str) -> People:
        """Return the people of a group, with the metas of all their connections.

        Raises:
            TypeError: The group is invalid, or the layer is none of channels-redis.
            redis.exceptions.RedisError: As for the layer's `group_add`.
        """
        commands, name = self._people(group)
        people = People()
        # Before the people: later changes of those are in diffs that are newer.
        at = await commands.execute(("HGET", name, ""), key=name, idempotent=True)
        if at and at.isdigit() and len(at) < MAX_DIGITS:
            people.at = int(at)
        async for key, lines in scan(commands, name):
            people[text(key)] = [meta for _, data in lines_of(lines) for meta in metas_in(data)]
        return people

    async def count(self, group: str) -> int:
        """Return the number of people in a group.

        Raises:
            TypeError: The group is invalid, or the layer is none of channels-redis.
            redis.exceptions.RedisError: As for the layer's `group_add`.
        """
        commands, name = self._people(group)
        fields: int = await commands.execute(("HLEN", name), key=name, idempotent=True)
        # One is the time of the latest change.
        return max(0, fields - 1)

    def _people(self, group: str) -> tuple[CommandClient, str]:
        """Return the connections and the key for the people of a group."""
        layer = self._layer(group)
        commands = layer.key_shards.of(group)
        keys = PresenceKeys(layer.presence_key_head, part_of(group, commands))
        return commands, keys.people(group)

    def _layer(self, group: str) -> Any:
        layer = get_channel_layer(self.alias)
        if not hasattr(layer, "presence_key_head"):
            raise TypeError(
                f"the channel layer {self.alias!r} is {type(layer).__name__}: presence needs one "
                "of channels-redis"
            )
        layer.require_valid_group_name(group)
        layer.require_valid_group_name(group + SUFFIX)
        return layer


# The people of each event loop, by the index of the shard and the part of it.
Here = dict[tuple[int, int], ShardPresence]
Loops = dict[asyncio.AbstractEventLoop, Here]


def _loops(layer: Any) -> Loops:
    """Return what the event loops of this process have; all `Presence` of a layer share it."""
    attributes = vars(layer)
    if "_presence" not in attributes:
        attributes.setdefault("_presence", ProcessLocal(partial(_start, layer)))
    loops: Loops = attributes["_presence"].get()
    return loops


def _start(layer: Any) -> Loops:
    loops: Loops = {}
    layer.on_channels_ended(partial(_call_all, loops, ShardPresence.end_channels))
    return loops


def _here(layer: Any) -> Here:
    """Return what the running event loop has. The layer has ended the tasks of closed ones."""
    loops, loop = _loops(layer), asyncio.get_running_loop()
    if loop not in loops:
        for closed in [one for one in list(loops) if one.is_closed()]:
            loops.pop(closed, None)
        loops[loop] = {
            (shard, part): ShardPresence(layer, shard, part)
            for shard in range(len(layer.hosts))
            for part in range(1 if layer.key_shards[shard].slot("") is None else PARTS)
        }
    return loops[loop]


def _call_all(loops: Loops, method: Callable[..., None], *arguments: Any) -> None:
    """Call a method of all parts: at once in this event loop, soon in those of other threads."""
    for loop, here in list(loops.items()):
        for one in here.values():
            if loop is running_loop():
                method(one, *arguments)
            else:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(method, one, *arguments)
