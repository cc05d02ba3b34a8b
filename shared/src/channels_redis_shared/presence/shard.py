"""Keep what Redis knows of the people of one event loop in the groups of one shard.

Redis counts the processes that have a person in a group; to Redis, an event loop is a process. Each
has a lease. A renewal also takes over those that are overdue, and removes the people of the dead
processes. A process that finds its lease changed, or its server empty, writes its people again. Any
step may run twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import secrets
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import RedisError

from ..canary import Canary
from ..concurrency import CANCEL_INTERVAL, timeout
from ..transport.commands import chunks
from . import scripts
from .keys import PresenceKeys
from .state import Diff, LocalPresence, Tracked, fields_of, metas_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..transport.commands import Argument, Command, CommandClient, Script

# Ends the name of the group whose members are told of a group's people.
SUFFIX = ".presence"
# Seconds that a process counts as alive after it has renewed its lease, and between two renewals.
LEASE_SECONDS = 60
RENEWAL_INTERVAL = 20
# Seconds over which processes spread their renewals when the lease of another one is overdue.
TAKEOVER_SPREAD = 1.0
# Seconds that a process renews its lease in time before it takes over others: after an outage, or a
# pause of a whole machine, all leases are overdue, and those of living processes are renewed first.
STEADY_AFTER = 30
# Overdue leases that one renewal takes over: a machine has some hundred processes.
MAX_TAKEOVERS = 100
# Seconds after a message for which further changes of the group are collected into one more.
DIFF_INTERVAL = 0.2
# Bytes of one message: thousands of people with small metas.
MAX_DIFF_BYTES = 65_536
# Seconds that the keys of a group live without a change, and after which a process writes its
# people again to keep them.
GROUP_TTL = 86_400
REWRITE_INTERVAL = GROUP_TTL / 4
# Seconds that the keys of a process live. Longer than those of a group: without them, the people of
# a dead process can't be taken from the group's count.
PROCESS_TTL = 2 * GROUP_TTL
# Seconds between two attempts to write what a server has refused or lost.
RETRY_INTERVAL = 1.0
# Seconds after which others may remove the people of an event loop that has ended.
HANDOVER_GRACE = 15
HANDOVER_TIMEOUT = CANCEL_INTERVAL / 2
# People in one write.
WRITE_CHUNK = 100
# Bytes of a meta as JSON. Every page of the group gets each of them.
MAX_META_BYTES = 4096
# Levels of lists and dicts in a meta. A message nests it deeper, and one that can't be read is lost
# with all its people.
MAX_META_DEPTH = 100

# The effects of a change that others have to see as a join or as a leave: always, and also if it
# may have been written before by a command whose reply was lost.
_JOINS = {b"joined"}
_REPEATED_JOINS = {b"joined", b"alone", b"shared"}
_LEAVES = {b"left"}
_REPEATED_LEAVES = {b"left", b"absent"}


# A person's key, and the metas, or none to remove the person.
_Change: TypeAlias = tuple[str | bytes, str]


@dataclass(frozen=True)
class _Changes:
    """Coalesce changes of one group into one command."""

    keys: tuple[str, str, str]
    process: str

    def command(self, parts: Sequence[Sequence[_Change]]) -> Command:
        """Return the command that makes all changes."""
        arguments = [word for part in parts for change in part for word in change]
        return scripts.CHANGE.call_with_source(
            self.keys, self.process, GROUP_TTL, PROCESS_TTL, *arguments
        )

    def replies(
        self, reply: Any, parts: Sequence[Sequence[_Change]]
    ) -> list[list[tuple[bytes, int]]]:
        """Return the effect and the time of each change."""
        at, *effects = reply
        timed: Iterator[tuple[bytes, int]] = (
            (effect, at + number) for number, effect in enumerate(effects)
        )
        return [[next(timed) for _ in part] for part in parts]


class ShardPresence:
    """The people of one event loop in the groups of one shard.

    Args:
        layer: The channel layer.
        shard: The index of the shard.
    """

    def __init__(self, layer: Any, shard: int) -> None:
        self._layer = layer
        self._shard = shard
        self._loop = asyncio.get_running_loop()
        self._keys = PresenceKeys(layer.presence_key_head)
        # As Redis knows this event loop.
        self._process = secrets.token_hex(8)
        self._people = LocalPresence()
        # By group; the time at which each has to be sent, or the next one may be.
        self._diffs: dict[str, Diff] = {}
        self._diffs_due: dict[str, float] = {}
        # Groups that may differ in Redis; True if a reply was lost, so that a change may not have
        # been announced.
        self._suspect: dict[str, bool] = {}
        # People in these whose latest change may not have been announced, with their last metas.
        self._unannounced: dict[str, dict[str, list[str]]] = {}
        self._next_retry = 0.0
        self._next_rewrite = 0.0
        # Groups that Redis knows to have people here, and those that it has to know first.
        self._registered: set[str] = set()
        self._unregistered: set[str] = set()
        # The lease as last written, and when.
        self._lease = b""
        self._renewed_at = 0.0
        # Since when it has been renewed in time.
        self._steady_since = math.inf
        self._renewing = asyncio.Lock()
        # The time at which the first lease of another process is overdue.
        self._next_takeover = math.inf
        # The time after a loss at which people are written once more: another process may have been
        # removing those of this one while they were written again.
        self._second_rewrite: float | None = None
        # Channels of which the layer knows nothing, and since when.
        self._unknown: dict[str, float] = {}
        # By node of a Cluster.
        self._canaries: dict[object, Canary] = {}
        self._layout: object = None
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # Those of this event loop, which are open until the tasks have ended.
        self._commands: CommandClient

    def start(self) -> None:
        """Start the background tasks, unless they run."""
        if self._tasks and not any(task.done() for task in self._tasks):
            return
        for task in self._tasks:
            task.cancel()
        self._lease = b""
        # The last writes of the former tasks may have been lost, or their replies.
        known = (*self._people.groups(), *self._registered, *self._unannounced)
        self._suspect = dict.fromkeys(known, True)
        self._registered.clear()
        self._next_rewrite = self._loop.time() + REWRITE_INTERVAL
        self._tasks = [
            self._layer.spawn(self._follow_changes()),
            self._layer.spawn(self._keep_lease()),
        ]
        self._commands = self._layer.key_shards[self._shard]

    async def track(self, group: str, channel: str, key: str, meta: str, grace: float) -> None:
        """Make a channel one of a person's; see `Presence.track`."""
        next_change, now = self._people.next_change(), self._loop.time()
        tracked = self._people.track(group, channel, key, meta, grace, now)
        if tracked is Tracked.UNCHANGED:
            return
        if self._people.next_change() != next_change:
            # The channel was another person's until now.
            self._changed.set()
        try:
            await self._register(group)
            # As they are now, for writes are executed in order.
            metas = self._people.metas(group, key)
            [(effect, at)] = await self._write(group, [(key, _array(metas))])
            is_join = effect in (_JOINS if tracked is Tracked.UNSEEN else _REPEATED_JOINS)
            if is_join and effect == b"shared":
                metas = await self._read_metas(group, key)
        except BaseException:
            self._tell_again(group, {key: self._people.metas(group, key)})
            raise
        if is_join:
            self._add_change(group, key, metas, at, joined=True)

    def untrack(self, group: str, channel: str) -> None:
        """Take a channel from its person."""
        self._people.untrack(group, channel, self._loop.time())
        self._changed.set()

    def end_channel(self, channel: str) -> None:
        """Take a channel that has ended from all groups."""
        if self._people.has(channel):
            self._people.end(channel, self._loop.time())
            self._changed.set()

    async def _follow_changes(self) -> None:
        """Write who has left, send diffs, and write again what Redis may not have."""
        while True:
            self._changed.clear()
            now = self._loop.time()
            changes = self._people.take_changes(now)
            await asyncio.gather(*starmap(self._write_ended, changes.items()))
            if now >= self._next_retry and self._suspect:
                self._next_retry = now + RETRY_INTERVAL
                suspect, self._suspect = self._suspect, {}
                await asyncio.gather(*starmap(self._rewrite, suspect.items()))
            due = [group for group, at in self._diffs_due.items() if at <= self._loop.time()]
            await asyncio.gather(*map(self._send_diff, due))
            await self._unregister_empty()
            await self._wait()

    async def _wait(self) -> None:
        times = [self._loop.time() + RENEWAL_INTERVAL, *self._diffs_due.values()]
        if (change_at := self._people.next_change()) is not None:
            times.append(change_at)
        if self._suspect:
            times.append(self._next_retry)
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(max(0.0, min(times) - self._loop.time())):
                await self._changed.wait()

    async def _write_ended(self, group: str, people: dict[str, list[str]]) -> None:
        for chunk in chunks(list(people), WRITE_CHUNK):
            try:
                changes = [(key, _array(self._people.metas(group, key))) for key in chunk]
                effects = await self._write(group, changes)
            except (RedisError, OSError):
                self._tell_again(group, {key: people[key] for key in chunk})
                continue
            except BaseException:
                # The layer closes: those of further chunks are not written, either.
                self._tell_again(group, people)
                raise
            for (key, metas), (effect, at) in zip(changes, effects, strict=True):
                if not metas and effect in _REPEATED_LEAVES:
                    self._add_change(group, key, people[key], at, joined=False)

    async def _rewrite(self, group: str, reply_lost: bool) -> None:  # noqa: FBT001
        """Write all people of a group again, and remove those that only Redis still has."""
        own = self._keys.local_people(group, self._process)
        joins, leaves = (_REPEATED_JOINS, _REPEATED_LEAVES) if reply_lost else (_JOINS, _LEAVES)
        unannounced = self._unannounced.pop(group, {})
        try:
            present = dict.fromkeys(self._people.people(group))
            for key in await self._commands.execute(("HKEYS", own), key=own, idempotent=True):
                if _text(key) not in present:
                    unannounced.setdefault(_text(key), [])
            if self._people.people(group):
                await self._register(group)
            keys = dict.fromkeys([*self._people.people(group), *unannounced])
            for chunk in chunks(list(keys), WRITE_CHUNK):
                people = {key: self._people.metas(group, key) for key in chunk}
                changes = [(key, _array(metas)) for key, metas in people.items()]
                effects = await self._write(group, changes)
                for (key, metas), (effect, at) in zip(people.items(), effects, strict=True):
                    is_shared = effect == b"shared"
                    if effect not in (joins if metas else leaves) or (
                        is_shared and key not in unannounced
                    ):
                        continue
                    told = metas or unannounced[key]
                    if is_shared:
                        told = await self._read_metas(group, key)
                    self._add_change(group, key, told, at, joined=bool(metas))
        except (RedisError, OSError, asyncio.CancelledError) as error:
            self._tell_again(group, unannounced | self._unannounced.get(group, {}))
            if isinstance(error, asyncio.CancelledError):
                raise

    def _tell_again(self, group: str, people: dict[str, list[str]]) -> None:
        """Write people again, and announce them: a change without a reply might be written."""
        self._suspect[group] = True
        self._unannounced.setdefault(group, {}).update(people)
        self._changed.set()

    async def _write(
        self,
        group: str,
        changes: Sequence[_Change],
        process: str | None = None,
        *,
        idempotent: bool = True,
    ) -> list[tuple[bytes, int]]:
        """Write people's metas, or remove those without; return the effects and their times."""
        process = process or self._process
        own = self._keys.local_people(group, process)
        keys = own, self._keys.people(group), self._keys.processes(group)
        found: list[tuple[bytes, int]] = await self._commands.execute_coalesced(
            changes,
            _Changes(keys, process),
            sum(len(key) + len(metas) for key, metas in changes),
            key=own,
            idempotent=idempotent,
        )
        return found

    async def _read_metas(self, group: str, key: str) -> list[str]:
        """Return the metas of a person in all processes."""
        name = self._keys.processes(group)
        processes = await self._commands.execute(("SMEMBERS", name), key=name, idempotent=True)
        people = [self._keys.local_people(group, _text(process)) for process in processes]
        found = await asyncio.gather(
            *(
                self._commands.execute(("HGET", one, key), key=one, idempotent=True)
                for one in people
            )
        )
        return [meta for metas in found if metas for meta in self._sendable(metas)]

    def _sendable(self, metas: bytes) -> list[str]:
        """Return the metas in Redis that a message can hold; no layer wrote any others."""
        found = []
        for meta in metas_in(metas):
            with contextlib.suppress(TypeError):
                found.append(encode_meta(self._layer, meta))
        return found

    def _add_change(self, group: str, key: str, metas: list[str], at: int, *, joined: bool) -> None:
        self._diffs.setdefault(group, Diff()).add(key, metas, at, joined=joined)
        if group not in self._diffs_due:
            # At once: a process that is killed takes along what it has not sent.
            self._diffs_due[group] = self._loop.time()
            self._changed.set()

    async def _send_diff(self, group: str) -> None:
        """Send the changes of a group, if there are any since the last message."""
        if group not in self._diffs:
            del self._diffs_due[group]
            return
        diff = self._diffs.pop(group)
        self._diffs_due[group] = self._loop.time() + DIFF_INTERVAL
        while part := diff.take(MAX_DIFF_BYTES):
            try:
                await self._layer.group_send(group + SUFFIX, message_of(group, part))
            except (RedisError, OSError, asyncio.CancelledError) as error:
                newer = self._diffs.setdefault(group, Diff())
                newer.put_back(part)
                newer.put_back(diff)
                self._diffs_due[group] = self._loop.time() + RETRY_INTERVAL
                if isinstance(error, asyncio.CancelledError):
                    raise
                return

    async def _register(self, group: str) -> None:
        """Let Redis know that this process has people in a group, before it knows of them."""
        if group in self._registered:
            return
        self._unregistered.add(group)
        async with self._renewing:
            # Unless another call has done it meanwhile.
            if group in self._unregistered:
                await self._renew()

    async def _unregister_empty(self) -> None:
        kept = {*self._people.groups(), *self._suspect}
        empty = [group for group in self._registered if group not in kept]
        if empty:
            self._registered.difference_update(empty)
            name = self._keys.groups(self._process)
            # A group that is left there costs one extra read after this process has died.
            with contextlib.suppress(RedisError, OSError):
                await self._commands.execute(("SREM", name, *empty), key=name, idempotent=True)

    async def _keep_lease(self) -> None:
        try:
            while True:
                # A server that is away finds the lease overdue, or this loop finds it changed.
                with contextlib.suppress(RedisError, OSError):
                    async with self._renewing:
                        await self._renew()
                    await self._check_nodes()
                self._end_unknown_channels()
                if self._loop.time() >= self._next_rewrite:
                    self._next_rewrite = self._loop.time() + REWRITE_INTERVAL
                    self._suspect_all(reply_lost=False)
                # The lease of a living process is not overdue before the next renewal.
                takeover = max(0.0, self._next_takeover - self._loop.time())
                spread = random.uniform(0, TAKEOVER_SPREAD)  # noqa: S311 - not for secrets
                await asyncio.sleep(min(RENEWAL_INTERVAL, takeover + spread))
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(HANDOVER_TIMEOUT):
                    await self._hand_over()
            raise

    async def _renew(self) -> None:
        """Renew the lease, register groups, and take over overdue leases. Holds the lock."""
        groups = list(self._unregistered)
        self._next_takeover = math.inf  # as long as the server is away
        steady_at = self._steady_since + STEADY_AFTER
        state, lease, next_takeover, *overdue = await self._run(
            scripts.RENEW,
            [self._keys.leases, self._keys.groups(self._process)],
            self._process,
            self._lease,
            LEASE_SECONDS,
            PROCESS_TTL,
            2 * RENEWAL_INTERVAL,
            MAX_TAKEOVERS if self._loop.time() >= steady_at else 0,
            *groups,
        )
        had_lease, now = bool(self._lease), self._loop.time()
        self._lease, self._renewed_at = lease, now
        if state != b"kept":
            self._steady_since = now
        if next_takeover:
            # A lease that no layer wrote may be infinite.
            due = now + float(next_takeover) / 1_000_000
            self._next_takeover = max(due, self._steady_since + STEADY_AFTER)
        self._unregistered.difference_update(groups)
        self._registered.update(groups)
        if had_lease and state == b"lost":
            self._second_rewrite = now + RENEWAL_INTERVAL
            self._registered.clear()
            self._suspect_all(reply_lost=True)
        elif self._second_rewrite is not None and now >= self._second_rewrite:
            self._second_rewrite = None
            self._registered.clear()
            self._suspect_all(reply_lost=False)
        for process in overdue:
            self._layer.spawn(self._reap(_text(process), lease))

    async def _check_nodes(self) -> None:
        """Find out which other nodes of a Cluster have lost data."""
        commands = self._commands
        if commands.layout is not self._layout:
            # A failover may have lost the latest writes; slots may have moved.
            if self._layout is not None:
                self._suspect_all(reply_lost=True)
            self._layout = commands.layout
            self._canaries.clear()
        node_of_leases = commands.node(self._keys.leases)
        for group in self._people.groups():
            node = commands.node(self._keys.people(group))
            if node is not None and node != node_of_leases and node not in self._canaries:
                key = self._keys.canary(self._process, group)
                self._canaries[node] = Canary(key, PROCESS_TTL)
        for canary in list(self._canaries.values()):
            if await canary.look(commands):
                self._suspect_all(reply_lost=True)

    def _end_unknown_channels(self) -> None:
        """End channels that had ended before they were tracked: no notice of them comes."""
        now = self._loop.time()
        unknown = (one for one in self._people.channels() if not self._layer.knows_channel(one))
        self._unknown = {channel: self._unknown.get(channel, now) for channel in unknown}
        for channel, since in self._unknown.items():
            if now - since >= self._layer.channel_expiry:
                self.end_channel(channel)

    def _suspect_all(self, *, reply_lost: bool) -> None:
        for group in self._people.groups():
            self._suspect[group] = self._suspect.get(group, False) or reply_lost
        self._changed.set()

    async def _reap(self, process: str, lease: bytes) -> None:
        """Remove the people of a dead process. If this fails, its lease becomes overdue again."""
        leases, groups = self._keys.leases, self._keys.groups(process)
        checked = self._loop.time()
        with contextlib.suppress(RedisError, OSError):
            for group in await self._commands.execute(
                ("SMEMBERS", groups), key=groups, idempotent=True
            ):
                before, checked = checked, self._loop.time()
                present = await self._commands.execute(
                    ("ZSCORE", leases, process), key=leases, idempotent=True
                )
                if present is None or float(present) != float(lease):
                    # It is alive, or another process has taken over.
                    if checked - before < RENEWAL_INTERVAL:
                        return
                    break  # it may have written its people twice before they were removed
                await self._reap_group(_text(group), process)
            await self._run(scripts.END_LEASE, [leases, groups], process, lease)

    async def _reap_group(self, group: str, process: str) -> None:
        name = self._keys.local_people(group, process)
        found = await self._commands.execute(("HGETALL", name), key=name, idempotent=True)
        people = dict(fields_of(found))
        for chunk in chunks(list(people), WRITE_CHUNK):
            changes = [(key, "") for key in chunk]
            leaves = _LEAVES
            try:
                effects = await self._write(group, changes, process, idempotent=False)
            except (RedisError, OSError):
                # They may have been removed nevertheless.
                leaves = _REPEATED_LEAVES
                try:
                    effects = await self._write(group, changes, process)
                except (RedisError, OSError):
                    # Nor would the next to take over find them there.
                    removed = {_text(key): self._sendable(people[key]) for key in chunk}
                    self._tell_again(group, removed)
                    raise
            for key, (effect, at) in zip(chunk, effects, strict=True):
                if effect in leaves:
                    metas = self._sendable(people[key])
                    self._add_change(group, _text(key), metas, at, joined=False)

    async def _hand_over(self) -> None:
        """Let others remove the people of this event loop soon, as it ends."""
        if not self._lease:
            return
        left = LEASE_SECONDS - (self._loop.time() - self._renewed_at)
        lease = int(self._lease) + int((HANDOVER_GRACE - left) * 1_000_000)
        leases = self._keys.leases
        command = ("ZADD", leases, "XX", lease, self._process)
        # Twice: the end of a loop cancels a write that is under way, which fails what waits for it.
        for _ in range(2):
            with contextlib.suppress(RedisError, OSError):
                await self._commands.execute(command, key=leases, idempotent=True)
                return

    async def _run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        command = script.call_with_source(keys, *arguments)
        return await self._commands.execute(command, key=keys[0], idempotent=True)


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


def message_of(group: str, diff: Diff) -> dict[str, Any]:
    """Return the message that tells members of a group who has joined and left."""
    changes = {**diff.joins, **diff.leaves}
    return {
        "type": "presence.diff",
        "group": group,
        "joins": {key: _parsed(metas) for key, (metas, _) in diff.joins.items()},
        "leaves": {key: _parsed(metas) for key, (metas, _) in diff.leaves.items()},
        "at": {key: at for key, (_, at) in changes.items()},
    }


def _parsed(metas: list[str]) -> list[Any]:
    return [json.loads(meta) for meta in metas]


def _array(metas: list[str]) -> str:
    """Return a JSON array; empty text if there are none, as for a person who is not present."""
    return f"[{','.join(metas)}]" if metas else ""


def _text(name: bytes) -> str:
    """Return a name from Redis; bytes that are no text end in none that is known."""
    return name.decode(errors="replace")
