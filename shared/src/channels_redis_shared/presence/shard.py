"""Keep what Redis knows of the people of one event loop in the groups of one shard.

To Redis, an event loop is a process. It sends heartbeats, and finds others silent that have died:
it removes these and their people. A process that finds its heartbeat gone or changed was taken for
dead, or the server has lost what was written: it goes on under another name, writes its people
again, and removes those of its former name. So it never has to know what others have removed, or
when they will have done so. Any step may run twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from ..concurrency import CANCEL_INTERVAL, timeout
from ..liveness import SECOND_LOOK_AFTER, Canary, Silence
from ..transport.errors import is_temporary
from . import scripts
from .keys import PresenceKeys
from .metas import array, encode_meta, lines_of, scan, text
from .state import Change, Diff, LocalPresence, Person, batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..transport.commands import Argument, Command, CommandClient

# Ends the name of the group whose members are told who comes and leaves.
SUFFIX = ".presence"
# Seconds between two heartbeats, and after which a process without one is silent.
BEAT_INTERVAL = 10
SILENT_AFTER = 30
CANARY_TTL = 60
# Seconds between the two looks at a process that has ended. Its people may have gone elsewhere.
HANDOVER_GRACE = 15
# Seconds that an event loop has to say that it ends.
HANDOVER_TIMEOUT = CANCEL_INTERVAL / 2
# Seconds after a message for which further changes of the group are collected into one more.
DIFF_INTERVAL = 0.2
# Seconds that the people of a group live without a change, and after which a process writes its own
# again to keep them.
GROUP_TTL = 86_400
REWRITE_INTERVAL = GROUP_TTL / 4
# Seconds that heartbeats live. Longer than people: without them, those of a dead process stay.
PROCESS_TTL = 2 * GROUP_TTL
# Seconds between two attempts to write what a server has refused or lost.
RETRY_INTERVAL = 1.0
# Counted for each person in a write, in addition to the key and the metas: so it has a hundred at
# most, and the server is not busy with it for long.
WRITE_BYTES = 640


class _Entry(NamedTuple):
    """A person to write into Redis, or to remove."""

    # In bytes if they come from Redis.
    process: str | bytes
    key: str | bytes
    # None to remove the person.
    metas: list[str]
    # Those to tell if the person has left.
    former: list[str]
    # Tell others even if nothing changes: it may have been written before.
    tell: bool

    def size(self) -> int:
        return WRITE_BYTES + len(self.key) + sum(map(len, self.metas))


@dataclass(frozen=True)
class _Changes:
    """Coalesce changes of one group into one command."""

    people_key: str

    def command(self, parts: Sequence[Sequence[Argument]]) -> Command:
        """Return the command that makes all changes."""
        words = [word for part in parts for word in part]
        return scripts.CHANGE.call_with_source([self.people_key], GROUP_TTL, *words)

    def replies(
        self, reply: Any, parts: Sequence[Sequence[Argument]]
    ) -> list[list[tuple[int, int, bytes]]]:
        """Return the time and the effects of each change."""
        at, *effects = reply
        changes = iter(zip(range(at, at + len(effects)), effects[::2], effects[1::2], strict=False))
        return [[next(changes) for _ in part[::3]] for part in parts]


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
        self._people = LocalPresence()
        # The name of this process, and its latest heartbeat, and when that was; empty for none.
        self._process = ""
        self._heartbeat = b""
        self._beat_at = 0.0
        self._beating = asyncio.Lock()
        # Groups that Redis knows to have people here, and those that it has to know first.
        self._registered: set[str] = set()
        self._unregistered: set[str] = set()
        self._next_write = 0.0
        self._next_rewrite = self._loop.time() + REWRITE_INTERVAL
        # By group; the time at which each has to be sent, or the next one may be.
        self._diffs: dict[str, Diff] = {}
        self._diffs_due: dict[str, float] = {}
        self._silence: Silence[bytes] = Silence(self._reconnects)
        # Processes to remove, also those that this one was.
        self._dead: set[bytes] = set()
        self._removal: asyncio.Task[None] | None = None
        # What changes if a server may have lost the latest writes.
        self._connected: object = None
        # By node of a Cluster.
        self._canaries: dict[object, Canary] = {}
        # Channels of which the layer knows nothing, and since when.
        self._unknown: dict[str, float] = {}
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
        self._commands = self._layer.key_shards[self._shard]
        self._connected = self._connections()
        # The last writes of the former tasks may have been lost, or their replies.
        self._start_anew()
        tasks = self._follow_changes(), self._keep_alive()
        self._tasks = [self._layer.spawn(task) for task in tasks]

    async def track(self, group: str, channel: str, key: str, meta: str, grace: float) -> None:
        """Make a channel one of a person's; see `Presence.track`."""
        next_change = self._people.next_change()
        if not self._people.track(group, channel, key, meta, grace, self._loop.time()):
            return
        if self._people.next_change() != next_change:
            # The channel was another person's until now.
            self._changed.set()
        await self._write(group, [key])

    def untrack(self, group: str, channel: str) -> None:
        """Take a channel from its person."""
        self._people.untrack(group, channel, self._loop.time())
        self._changed.set()

    def end_channels(self, channels: Iterable[str]) -> None:
        """Take channels that have ended from all groups."""
        for channel in channels:
            if self._people.end(channel, self._loop.time()):
                self._changed.set()

    async def _follow_changes(self) -> None:
        """Write changes that Redis does not have, tell the groups, and remove the dead."""
        while True:
            self._changed.clear()
            if self._loop.time() >= self._next_write:
                unwritten = self._people.take_unwritten(self._loop.time())
                await asyncio.gather(*starmap(self._try_to_write, unwritten.items()))
            is_idle = self._removal is None or self._removal.done()
            # Only once all is written: a person who is still here has not left. And not before the
            # first heartbeat, in whose name others are asked to leave the dead alone.
            if self._dead and self._heartbeat and is_idle and self._people.is_written:
                self._removal = self._layer.spawn(self._remove(list(self._dead)))
            due = [group for group, at in self._diffs_due.items() if at <= self._loop.time()]
            await asyncio.gather(*map(self._send_diff, due))
            await self._unregister_empty()
            await self._wait()

    async def _wait(self) -> None:
        times = [self._loop.time() + BEAT_INTERVAL, *self._diffs_due.values()]
        if (change_at := self._people.next_change()) is not None:
            times.append(max(change_at, self._next_write))
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(max(0.0, min(times) - self._loop.time())):
                await self._changed.wait()

    async def _try_to_write(self, group: str, keys: Sequence[str]) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._write(group, keys)

    async def _write(self, group: str, keys: Sequence[str]) -> None:
        """Write people as they are now.

        Raises:
            redis.exceptions.RedisError: They are written again.
        """
        unwritten = dict.fromkeys(keys)
        try:
            await self._register(group)
            for batch in batches(keys, lambda key: self._entry(group, key).size()):
                entries = [self._entry(group, key) for key in batch]
                self._people.begin_write(group, batch)
                await self._change(group, entries)
                for key, entry in zip(batch, entries, strict=True):
                    del unwritten[key]
                    if not entry.metas:
                        self._people.removed(group, key)
        except BaseException:
            self._people.mark(group, unwritten, tell=True)
            self._next_write = self._loop.time() + RETRY_INTERVAL
            self._changed.set()
            raise

    def _entry(self, group: str, key: str) -> _Entry:
        person = self._people.find(group, key) or Person(tell=False)
        former = list(person.by_channel.values())
        return _Entry(self._process, key, person.metas, former, person.tell)

    async def _change(
        self, group: str, entries: Sequence[_Entry], *, persist: bool = False
    ) -> None:
        """Write and remove people, and note what others have to know.

        Args:
            group: The group.
            entries: The people.
            persist: Try again until the server is back.
        """
        while True:
            is_told = all(entry.tell for entry in entries)
            try:
                # Unless all are told anyway, only the first reply says what has changed.
                await self._change_once(group, entries, idempotent=is_told)
            except (RedisError, OSError) as error:
                if is_told and not (persist and is_temporary(error)):
                    raise
                entries = [entry._replace(tell=True) for entry in entries]
                if persist:
                    await asyncio.sleep(RETRY_INTERVAL)
            else:
                return

    async def _change_once(
        self, group: str, entries: Sequence[_Entry], *, idempotent: bool
    ) -> None:
        key = self._keys.people(group)
        words: list[str | bytes] = []
        for entry in entries:
            words += entry.process, entry.key, array(entry.metas)
        effects = await self._commands.execute_coalesced(
            words, _Changes(key), sum(map(len, words)), key=key, idempotent=idempotent
        )
        for entry, (at, had, others) in zip(entries, effects, strict=True):
            is_here = bool(entry.metas)
            is_new = is_here != bool(had) and not others
            if is_new or (entry.tell and (had if is_here else not had and not others)):
                metas = [*entry.metas, *self._sendable(others)] or entry.former
                name = entry.key if isinstance(entry.key, str) else text(entry.key)
                self._diffs.setdefault(group, Diff()).add(name, Change(metas, at, is_here))
        if group in self._diffs and group not in self._diffs_due:
            # At once: a process that is killed takes along what it has not sent.
            self._diffs_due[group] = self._loop.time()
            self._changed.set()

    def _sendable(self, lines: bytes) -> list[str]:
        """Return the metas in Redis that a message can hold; no layer wrote any others."""
        found = []
        for _, metas in lines_of(lines):
            for meta in metas:
                with contextlib.suppress(TypeError):
                    found.append(encode_meta(self._layer, meta))
        return found

    async def _send_diff(self, group: str) -> None:
        """Send the changes of a group, if there are any since the last message."""
        diff = self._diffs.pop(group, None)
        if diff is None:
            del self._diffs_due[group]
            return
        self._diffs_due[group] = self._loop.time() + DIFF_INTERVAL
        try:
            for batch in batches(list(diff), diff.size):
                await self._layer.group_send(group + SUFFIX, diff.message(group, batch))
                for key in batch:
                    del diff[key]
        except (RedisError, OSError, asyncio.CancelledError) as error:
            newer = self._diffs.setdefault(group, Diff())
            for key, change in diff.items():
                newer.add(key, change)
            self._diffs_due[group] = self._loop.time() + RETRY_INTERVAL
            if isinstance(error, asyncio.CancelledError):
                raise

    async def _register(self, group: str) -> None:
        """Let Redis know that this process has people in a group, before it knows of them."""
        # Others may take it for dead by then, so it asks before it writes.
        is_stale = self._loop.time() - self._beat_at > SILENT_AFTER
        if group in self._registered and not is_stale:
            return
        self._unregistered.add(group)
        async with self._beating:
            # Unless another call has done it meanwhile.
            if group in self._unregistered:
                await self._beat()

    async def _unregister_empty(self) -> None:
        empty = list(self._registered.difference(self._people.groups()))
        if empty:
            self._registered.difference_update(empty)
            # A group that is left there costs one extra read after this process has died.
            with contextlib.suppress(RedisError, OSError):
                await self._execute("SREM", self._keys.groups(self._process), *empty)

    async def _keep_alive(self) -> None:
        try:
            while True:
                # A server that is away is asked again later.
                with contextlib.suppress(RedisError, OSError):
                    async with self._beating:
                        await self._beat()
                    await self._check_nodes()
                self._end_unknown_channels()
                # Apart from others, so that one of them is the first to remove a dead one.
                await asyncio.sleep(BEAT_INTERVAL * random.uniform(0.9, 1))  # noqa: S311
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(HANDOVER_TIMEOUT):
                    await self._hand_over()
            raise

    async def _beat(self) -> None:
        """Send a heartbeat, with groups to register, and find the dead. Holds the lock."""
        groups = list(self._unregistered)
        heartbeat, is_as_written, silent = await self._send_heartbeat(groups)
        if self._heartbeat and not is_as_written:
            # Once more in the former name, with all groups: if this process dies before it has
            # removed that, others do.
            await self._send_heartbeat([*self._registered, *groups])
            self._start_anew()
            await self._beat()
            return
        if not self._heartbeat:
            self._changed.set()
        self._heartbeat, self._beat_at = heartbeat, self._loop.time()
        self._unregistered.difference_update(groups)
        self._registered.update(groups)
        heartbeats = dict(zip(silent[::2], silent[1::2], strict=True))
        self._silence.keep(heartbeats)
        for process, last in heartbeats.items():
            if self._silence.is_dead(process, SECOND_LOOK_AFTER if float(last) else HANDOVER_GRACE):
                self._dead.add(process)
                self._changed.set()

    async def _send_heartbeat(self, groups: Sequence[str]) -> tuple[bytes, int, list[bytes]]:
        names = [self._keys.heartbeats, self._keys.groups(self._process)]
        command = scripts.BEAT.call_with_source(
            names, self._process, self._heartbeat, PROCESS_TTL, SILENT_AFTER, *groups
        )
        heartbeat, is_as_written, silent = await self._commands.execute(
            command, key=names[0], idempotent=True
        )
        return heartbeat, is_as_written, silent

    def _start_anew(self) -> None:
        """Go on as another process."""
        if self._heartbeat:
            self._dead.add(self._process.encode())
        self._process, self._heartbeat = secrets.token_hex(6), b""
        self._registered = set()
        self._people.mark_all(tell=True)
        self._changed.set()

    async def _check_nodes(self) -> None:
        """Write people again if a server may have lost some, or nodes have others."""
        connected = self._connections()
        is_lost = connected != self._connected
        if is_lost:
            self._connected = connected
            self._canaries.clear()
        # A group of each node of a Cluster.
        names = {self._commands.node(self._keys.people(one)): one for one in self._people.groups()}
        for node, group in names.items():
            key = self._keys.canary(self._process, group)
            canary = self._canaries.setdefault(node, Canary(key, CANARY_TTL))
            is_lost |= await canary.look(self._commands)
        if is_lost or self._loop.time() >= self._next_rewrite:
            self._next_rewrite = self._loop.time() + REWRITE_INTERVAL
            self._people.mark_all(tell=False)
            self._changed.set()

    def _connections(self) -> object:
        return self._reconnects(), self._commands.layout

    def _reconnects(self) -> int:
        reconnects: int = self._layer.statistics().reconnects
        return reconnects

    def _end_unknown_channels(self) -> None:
        """End channels that had ended before they were tracked: no notice of them comes."""
        now = self._loop.time()
        unknown = (one for one in self._people.channels() if not self._layer.knows_channel(one))
        self._unknown = {channel: self._unknown.get(channel, now) for channel in unknown}
        expiry = self._layer.channel_expiry
        self.end_channels(one for one, since in self._unknown.items() if now - since >= expiry)

    async def _remove(self, dead: Sequence[bytes]) -> None:
        """Remove dead processes and their people. What fails is done again."""
        names = [self._keys.groups(text(process)) for process in dead]
        with contextlib.suppress(RedisError, OSError):
            # Others leave them to this process for a while. One that lives takes another name.
            claims = [word for process in dead for word in (self._heartbeat, process)]
            await self._execute("ZADD", self._keys.heartbeats, "XX", *claims)
            found = await asyncio.gather(*(self._execute("SMEMBERS", name) for name in names))
            processes: dict[str, set[bytes]] = {}
            for process, groups in zip(dead, found, strict=True):
                for group in groups:
                    processes.setdefault(text(group), set()).add(process)
            for group, gone in processes.items():
                await self._remove_people(group, gone)
            await self._execute("UNLINK", *names)
            await self._execute("ZREM", self._keys.heartbeats, *dead)
            self._dead.difference_update(dead)

    async def _remove_people(self, group: str, processes: set[bytes]) -> None:
        entries: list[_Entry] = []
        try:
            async for key, lines in scan(self._commands, self._keys.people(group)):
                for line in lines.split(b"\n"):
                    process = line.partition(b"[")[0]
                    if process in processes:
                        entries.append(_Entry(process, key, [], self._sendable(line), tell=False))
            for batch in batches(entries, _Entry.size):
                # They may be removed by then, and no other process would tell others.
                await self._change(group, batch, persist=True)
        except ResponseError as error:
            # What stands there has none of their people.
            if "WRONGTYPE" not in str(error):
                raise

    async def _hand_over(self) -> None:
        """Let others remove the people of this event loop soon, as it ends."""
        # Twice: the end of a loop cancels a write that is under way, which fails what waits for it.
        for _ in range(2 if self._heartbeat else 0):
            with contextlib.suppress(RedisError, OSError):
                await self._execute("ZADD", self._keys.heartbeats, "XX", 0, self._process)
                return

    async def _execute(self, name: str, key: str, *arguments: Argument) -> Any:
        return await self._commands.execute((name, key, *arguments), key=key, idempotent=True)
