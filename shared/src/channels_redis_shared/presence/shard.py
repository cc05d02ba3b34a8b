"""Keep what Redis knows of the people of one event loop in the groups of one shard.

In a Redis Cluster, it is one of the parts of the shard. To Redis, an event loop is a process. It
sends heartbeats, and finds others silent that have died: it removes these and their people. A
process that finds its heartbeat gone or changed was taken for dead, or the server has lost what was
written: it writes its people again. Any step may run twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from ..liveness import SECOND_LOOK_AFTER, Silence
from ..transport.commands import chunks
from ..transport.errors import is_temporary
from . import scripts
from .keys import PresenceKeys
from .metas import array, encoded_in, lines_of, scan, text
from .state import Change, Diff, LocalPresence, Person, batches, writes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..transport.commands import Argument, Command, CommandClient

# Ends the name of the group whose members learn who comes and leaves.
SUFFIX = ".presence"
# Seconds between two heartbeats, and after which a process without one is silent.
BEAT_INTERVAL = 10
SILENT_AFTER = 30
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
# Groups that are written, or looked through, at once.
MAX_GROUPS = 100


@dataclass(frozen=True)
class _Changes:
    """Coalesce changes of one process in one group into one command."""

    keys: tuple[str, ...]
    # The group, the process, and its gone mark.
    words: tuple[Argument, ...]

    def command(self, parts: Sequence[Sequence[Argument]]) -> Command:
        """Return the command that makes all changes."""
        changes = [word for part in parts for word in part]
        return scripts.CHANGE.call_with_source(
            self.keys, GROUP_TTL, PROCESS_TTL, *self.words, *changes
        )

    def replies(
        self, reply: Any, parts: Sequence[Sequence[Argument]]
    ) -> list[list[tuple[int, int, bytes]]]:
        """Return the time and the effects of each change."""
        at, *effects = reply
        changes = iter(zip(range(at, at + len(effects)), effects[::2], effects[1::2], strict=False))
        return [[next(changes) for _ in part[::2]] for part in parts]


class ShardPresence:
    """The people of one event loop in the groups of one shard, or of one part of it.

    Args:
        layer: The channel layer.
        shard: The index of the shard.
        part: The part.
    """

    def __init__(self, layer: Any, shard: int, part: int) -> None:
        self._layer = layer
        self._shard = shard
        self._loop = asyncio.get_running_loop()
        self._keys = PresenceKeys(layer.presence_key_head, part)
        self._changed = asyncio.Event()
        self._people = LocalPresence(self._loop.call_later, self._changed.set)
        self._process = secrets.token_hex(6)
        # The latest heartbeat; empty for none.
        self._heartbeat = b""
        self._next_rewrite = self._loop.time() + REWRITE_INTERVAL
        # By group; those that their own task sends.
        self._diffs: dict[str, Diff] = {}
        self._silence: Silence[bytes] = Silence(lambda: self._connected)
        self._removal: asyncio.Task[None] | None = None
        # What changes if a server may have lost the latest writes; and whether it may again have
        # people that have left.
        self._connected: object = None
        self._has_gone_back = False
        # Channels of which the layer knows nothing, and since when.
        self._unknown: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        # Those of this event loop, which are open until the tasks have ended.
        self._commands: CommandClient

    def start(self) -> None:
        """Start the background tasks, unless they run."""
        if self._tasks and not any(task.done() for task in self._tasks):
            return
        for task in self._tasks:
            task.cancel()
        tasks = self._write_changes(), self._keep_alive()
        self._tasks = [self._layer.spawn(task) for task in tasks]
        for group, diff in self._diffs.items():
            self._layer.spawn(self._send_diffs(group, diff))
        # After `spawn`, with which the event loop has some.
        self._commands = self._layer.key_shards[self._shard]
        self._connected = self._connections()

    async def track(self, group: str, channel: str, key: str, meta: str, grace: float) -> None:
        """Make a channel one of a person's; see `Presence.track`."""
        if self._people.track(group, channel, key, meta, grace):
            await self._write(group, [key])

    def untrack(self, group: str, channel: str) -> None:
        """Take a channel from its person."""
        self._people.untrack(group, channel)

    def end_channels(self, channels: Iterable[str]) -> None:
        """Take channels that have ended from all groups."""
        for channel in channels:
            self._people.end(channel)

    async def _write_changes(self) -> None:
        """Write changes that Redis does not have."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while unwritten := self._people.take_unwritten(MAX_GROUPS):
                written = await asyncio.gather(*starmap(self._try_to_write, unwritten.items()))
                if not all(written):
                    await asyncio.sleep(RETRY_INTERVAL)

    async def _try_to_write(self, group: str, keys: Sequence[str]) -> bool:
        with contextlib.suppress(RedisError, OSError):
            await self._write(group, keys)
            return True
        return False

    async def _write(self, group: str, keys: Sequence[str]) -> None:
        """Write people as they are now.

        Raises:
            redis.exceptions.RedisError: They are written again.
        """
        people = self._people.begin_write(group, keys)
        unwritten = dict(people)
        try:
            for batch in writes_of(people):
                await self._change(group, self._process, batch)
                for key in batch:
                    if unwritten.pop(key).has_left:
                        self._people.removed(group, key)
        except BaseException:
            self._people.mark(group, unwritten, announce=True)
            raise

    async def _change(
        self, group: str, process: str, people: Mapping[str, Person], gone_mark: bytes = b""
    ) -> None:
        """Write and remove people of a process, and note what others have to know.

        Args:
            group: The group.
            process: The process.
            people: The people.
            gone_mark: What has replaced the heartbeat of a dead process; empty for this one.
        """
        keys = self._keys.people(group), self._keys.heartbeats, self._keys.groups
        words = [word for key, person in people.items() for word in (key, array(person.metas))]
        effects = await self._commands.execute_coalesced(
            words,
            _Changes(keys, (group, process, gone_mark)),
            sum(map(len, words)),
            key=keys[0],
            # Only the first reply says who has left with a dead process.
            idempotent=not gone_mark,
        )
        for (key, person), (at, had, others) in zip(people.items(), effects, strict=True):
            is_here = bool(person.metas)
            is_new = is_here != bool(had) and not others
            if is_new or (person.announce and (had if is_here else not had and not others)):
                elsewhere = [meta for _, data in lines_of(others) for meta in encoded_in(data)]
                metas = [*person.metas, *elsewhere] or [*person.by_channel.values()]
                self._note(group, key, Change(metas, at, is_here))

    def _note(self, group: str, key: str, change: Change) -> None:
        """Send a change of a group at once, or soon after its latest message."""
        if group not in self._diffs:
            diff = self._diffs[group] = Diff()
            self._layer.spawn(self._send_diffs(group, diff))
        self._diffs[group].add(key, change)

    async def _send_diffs(self, group: str, diff: Diff) -> None:
        """Send the changes of a group until there are none for a while."""
        while diff:
            pause, unsent = DIFF_INTERVAL, Diff(diff)
            diff.clear()
            try:
                for batch in batches(list(unsent), unsent.size):
                    await self._layer.group_send(group + SUFFIX, unsent.message(group, batch))
                    for key in batch:
                        del unsent[key]
            except (RedisError, OSError):
                pause = RETRY_INTERVAL
            except Exception:
                # What no message can hold was not written by a layer.
                unsent.clear()
                self._diffs.pop(group, None)
                raise
            finally:
                for key, change in unsent.items():
                    diff.add(key, change)
            await asyncio.sleep(pause)
        self._diffs.pop(group, None)

    async def _keep_alive(self) -> None:
        while True:
            # A server that is away is asked again later.
            with contextlib.suppress(RedisError, OSError):
                await self._beat()
            self._end_unknown_channels()
            # Apart from others, so that one of them is the first to remove a dead one.
            await asyncio.sleep(BEAT_INTERVAL * random.uniform(0.9, 1))  # noqa: S311

    async def _beat(self) -> None:
        """Send a heartbeat, write people again that the server may have lost, find the dead."""
        command = scripts.BEAT.call_with_source(
            [self._keys.heartbeats], self._process, self._heartbeat, PROCESS_TTL, SILENT_AFTER
        )
        heartbeat, is_as_written, silent = await self._commands.execute(
            command, key=self._keys.heartbeats, idempotent=True
        )
        connected = self._connections()
        is_lost = self._connected != connected or (self._heartbeat and not is_as_written)
        self._has_gone_back |= bool(is_lost)
        if is_lost or self._loop.time() >= self._next_rewrite:
            self._next_rewrite = self._loop.time() + REWRITE_INTERVAL
            self._people.mark_all()
        self._heartbeat, self._connected = heartbeat, connected
        self._silence.keep(silent)
        dead = [one for one in silent if self._silence.is_dead(one, SECOND_LOOK_AFTER)]
        is_idle = self._removal is None or self._removal.done()
        if is_idle and (dead or self._has_gone_back):
            # Half a microsecond later, so that it is no heartbeat.
            self._removal = self._layer.spawn(self._remove(dead, heartbeat + b".5"))

    def _connections(self) -> object:
        return self._layer.statistics().reconnects, self._commands.layout

    def _end_unknown_channels(self) -> None:
        """End channels that had ended before they were tracked: no notice of them comes."""
        now = self._loop.time()
        unknown = (one for one in self._people.channels() if not self._layer.knows_channel(one))
        self._unknown = {channel: self._unknown.get(channel, now) for channel in unknown}
        expiry = self._layer.channel_expiry
        self.end_channels(one for one, since in self._unknown.items() if now - since >= expiry)

    async def _remove(self, dead: Sequence[bytes], gone_mark: bytes) -> None:
        """Remove dead processes and their people, and those here who have left.

        What fails is done again.

        Args:
            dead: The processes.
            gone_mark: Replaces their heartbeats: others leave them to this process for a while. One
                that lives after all writes another, and its people again.
        """
        self._has_gone_back = False
        try:
            for process in dead:
                await self._execute("ZADD", self._keys.heartbeats, "XX", gone_mark, process)
            groups = [text(name) async for name, _ in scan(self._commands, self._keys.groups)]
            # Several at once: others take over after a minute.
            for chunk in chunks(groups, MAX_GROUPS):
                await asyncio.gather(*(self._remove_from(one, dead, gone_mark) for one in chunk))
            # Not those that write heartbeats again, or that another process has marked since.
            await self._execute("ZREMRANGEBYSCORE", self._keys.heartbeats, gone_mark, gone_mark)
        except (RedisError, OSError):
            self._has_gone_back = True

    async def _remove_from(self, group: str, dead: Sequence[bytes], gone_mark: bytes) -> None:
        """Remove the people of dead processes from a group, and those here who have left."""
        own = self._process.encode()
        people: dict[bytes, dict[str, Person]] = {process: {} for process in dead}
        try:
            async for field, lines in scan(self._commands, self._keys.people(group)):
                key = text(field)
                for process, data in lines_of(lines):
                    if process == own and self._people.find(group, key) is None:
                        self._people.mark(group, [key])
                    elif process in people:
                        former = {str(at): meta for at, meta in enumerate(encoded_in(data))}
                        people[process][key] = Person(former, has_left=True, announce=False)
        except ResponseError as error:
            # What stands there has none of their people.
            if "WRONGTYPE" not in str(error):
                raise
        await asyncio.gather(
            *(
                self._remove_people(group, text(process), batch, gone_mark)
                for process, own in people.items()
                for batch in writes_of(own)
            )
        )

    async def _remove_people(
        self, group: str, process: str, people: Mapping[str, Person], gone_mark: bytes
    ) -> None:
        """Remove people of a dead process, and try again until the server is back.

        They may be removed by then, and no other process would announce them.
        """
        while True:
            try:
                await self._change(group, process, people, gone_mark)
            except (RedisError, OSError) as error:
                if not is_temporary(error):
                    raise
                for person in people.values():
                    person.announce = True
                await asyncio.sleep(RETRY_INTERVAL)
            else:
                return

    async def _execute(self, name: str, key: str, *arguments: Argument) -> Any:
        return await self._commands.execute((name, key, *arguments), key=key, idempotent=True)
