"""Fuzz the histories of groups: entries, positions, published messages."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from channels_redis_queue._shared.history.store import MARK, HistoryStore, id_of
from fuzz.hostile import as_msgpack
from fuzz.targets import Consumer, Target, put
from fuzz.watch import done
from support import inside
from support.queue_layers import beside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GROUP = "kept"
OPTIONS: dict[str, Any] = {
    "history": {GROUP: {"size": 30, "ttl": 60}},
    "on_gap": "gap",
}
# In the place of messages that a reader was told of.
TOLD = -1
# Members that stay, and channels that join again and again.
MEMBERS, GUESTS = 2, 8
# With hostile data, a message may be lost and told of once before all flows.
ATTEMPTS = 5
# What the keys of one process and of the group, and the blocks of a stream, come to at most.
MAX_KEYS = 40
MAX_ENTRIES = 300
HIGHEST_ID = b"18446744073709551615-18446744073709551615"


class Reader(Consumer):
    """A consumer of the group, which notes the numbers of the messages and the notices."""

    def __init__(self, layer: Any, channel: str) -> None:
        self.events: list[int] = []
        self.positions: dict[int, str] = {}
        # The number after which it has to get all, if it is a member.
        self.start: int | None = None
        super().__init__(layer, channel)

    def keep(self, message: dict[str, Any]) -> None:
        """Note a message."""
        super().keep(message)
        number = message.get("number")
        if message.get("type") == "gap" and message.get("group") == GROUP:
            self.events.append(TOLD)
        elif isinstance(number, int):
            self.events.append(number)
            self.positions[number] = message["__asgi_position__"]

    def missed(self, sent: set[int]) -> set[int]:
        """Return the messages that it missed without a notice in their place."""
        if self.start is None:
            return set()
        missing = {number for number in sent if number > self.start}.difference(self.events)
        before = self.start
        for at, number in enumerate(self.events):
            if number == TOLD:
                after = [later for later in self.events[at:] if later != TOLD]
                upper = min(after, default=max(sent, default=0))
                missing = {one for one in missing if not before < one < upper}
            else:
                before = max(before, number)
        return missing


class Input(NamedTuple):
    """Something to write, and how a channel joins then."""

    kind: str
    content: Any
    since: str | None
    rewind: int | None
    guest: int


class HistoryData(Target):
    """The keys of a group that keeps a history, and what is sent to its members."""

    batch = 16
    options = OPTIONS

    async def open(self) -> None:
        """Set the scene, and let channels follow the group."""
        await super().open()
        layer = self.scene.layer
        self.stream: Any
        self.latest: Any
        self.stream, self.latest = HistoryStore(layer.presence_key_head).keys(self.tag)
        channels = [await layer.new_channel() for _ in range(MEMBERS + GUESTS)]
        readers = [Reader(layer, channel) for channel in channels]
        self.members, self.guests = readers[:MEMBERS], readers[MEMBERS:]
        for member in self.members:
            await done(layer.group_add(GROUP, member.channel), "group_add")
            member.start = 0
        self.number = 0
        self.sent: set[int] = set()

    def make(self) -> Input:
        """Return an input."""
        dice = self.hostile.dice
        kind = dice.choices(("entry", "position", "wire", "gone", "type"), (6, 4, 6, 3, 0.3))[0]
        since = None if dice.random() < 0.3 else self._position()
        if dice.random() < 0.4:
            # That of a message.
            since = self.members[0].positions.get(self.number - dice.randrange(1, 8), since)
        rewind = dice.choice((None, None, 1, 5, 2**31 - 1))
        make: dict[str, Callable[[], Any]] = {
            "entry": self._entry,
            "position": self._text,
            "wire": self._wire,
            "gone": lambda: dice.randrange(7),
            "type": lambda: (dice.randrange(2), dice.randrange(5), self.hostile.raw() or b"x"),
        }
        content = make[kind]()
        return Input(kind, content, since, rewind, dice.randrange(GUESTS))

    async def feed(self, inputs: list[Any]) -> None:
        """Write the inputs while channels join, and messages are sent."""
        for one in inputs:
            await self._feed_one(one)
        await done(self._settle(), "the group")
        self._check(in_order=all(one.kind != "wire" for one in inputs))

    async def close(self) -> None:
        """End the scene and the readers."""
        self.scene.consumers += [*self.members, *self.guests]
        await super().close()

    def publish(self, head: Any, body: bytes) -> None:
        """Send the members what has a position in front.

        Args:
            head: What `_head` has returned.
            body: What stands where a message is expected.
        """
        raise NotImplementedError

    async def _feed_one(self, one: Input) -> None:
        layer, guest = self.scene.layer, self.guests[one.guest]
        may_fail = self._write(one)
        guest.start = None
        await done(layer.group_discard(GROUP, guest.channel), "group_discard")
        # All in one write, so that a reply that can't be read would fail the calls of others.
        await asyncio.gather(
            done(layer.send(self.scene.own[0].channel, {"type": "x"}), "send"),
            self._tolerant(self._send(), may_fail=may_fail),
            self._tolerant(self._join(guest, one), may_fail=may_fail),
            self._tolerant(
                layer.group_history(GROUP, since=one.since, limit=one.rewind), may_fail=may_fail
            ),
            done(layer.group_send("room", {"type": "x"}), "group_send"),
        )
        if may_fail:
            self.client.delete(self.stream, self.latest)

    async def _tolerant(self, call: Awaitable[Any], *, may_fail: bool) -> None:
        """Make a call that gets an error of the server if a key holds something else."""
        try:
            await done(call, "a call for the group")
        except ResponseError:
            if not may_fail:
                raise

    async def _send(self) -> None:
        self.number += 1
        number = self.number
        await self.scene.layer.group_send(GROUP, {"type": "x", "number": number})
        self.sent.add(number)

    async def _join(self, guest: Reader, one: Input) -> None:
        layer = self.scene.layer
        guest.events.clear()
        number = next(
            (number for number, known in self.members[0].positions.items() if known == one.since),
            None,
        )
        joined = await layer.group_add(GROUP, guest.channel, since=one.since, rewind=one.rewind)
        assert not joined.position or id_of(joined.position) is not None, joined
        # Without a known position, it gets what is sent after this call.
        guest.start = number if joined.recovered and number is not None else self.number

    async def _settle(self) -> None:
        """Send until all members have the latest message, of which they may be told once."""
        readers = [*self.members, *(guest for guest in self.guests if guest.start is not None)]
        for _ in range(ATTEMPTS):
            told = [reader.events.count(TOLD) for reader in readers]
            await self._send()
            while not all(
                self.number in reader.events or reader.events.count(TOLD) > before
                for reader, before in zip(readers, told, strict=True)
            ):
                await asyncio.sleep(0.001)
                for reader in readers:
                    reader.raise_if_ended()
            if all(self.number in reader.events for reader in readers):
                return
        raise AssertionError("members are told of gaps without end")

    def _check(self, *, in_order: bool) -> None:
        """Check what the readers got, and what is left.

        They miss nothing in silence, and get nothing twice; not too much is left.
        """
        for reader in (*self.members, *self.guests):
            missed = reader.missed(self.sent)
            assert not missed, f"{sorted(missed)} are missing in {reader.events}"
            numbers = [number for number in reader.events if number != TOLD]
            if in_order and reader in self.members:
                assert numbers == sorted(set(numbers)), "messages came twice or late"
            reader.events.clear()
            if reader.start is not None:
                reader.start = self.number
            for number in [each for each in reader.positions if each <= self.number - 10]:
                del reader.positions[number]
        self.sent.clear()
        follower = inside.followers(self.scene.layer).find(self.key())
        assert inside.is_settled(follower), "the follower keeps joins or messages"
        assert self.client.dbsize() <= MAX_KEYS, self.client.keys()
        assert self.client.xlen(self.stream) <= MAX_ENTRIES

    @property
    def tag(self) -> str:
        """The name that decides on the slot of the history."""
        return GROUP

    def key(self) -> Any:
        """Return the key of the group's follower."""
        raise NotImplementedError

    def _write(self, one: Input) -> bool:
        """Write an input; return whether calls for the group may get an error of the server."""
        client, content = self.client, one.content
        if one.kind == "entry":
            entry_id, fields = content
            # The server refuses an id that is not above all others.
            with contextlib.suppress(ResponseError):
                client.execute_command("XADD", self.stream, entry_id, *fields)
            return bool(entry_id == HIGHEST_ID)
        if one.kind == "position":
            client.set(self.latest, content, ex=60)
        elif one.kind == "wire":
            self.publish(*content)
        elif one.kind == "type":
            number, kind, raw = content
            put(client, (self.stream, self.latest)[number], kind, raw)
            return True
        else:
            self._remove(content)
        return False

    def _position(self) -> str:
        known = [*self.members[0].positions.values()][-5:]
        return self.hostile.position(known)

    def _foreign(self) -> str:
        """Return what is no position of a message.

        With one of those, what is written might be what a server has after it lost its latest data,
        of which no reader can know.
        """
        known = self.members[0].positions.values()
        while (position := self._position()) in known:
            pass
        return position

    def _entry(self) -> tuple[bytes, list[bytes]]:
        """Return an id and fields for the stream."""
        dice, raw = self.hostile.dice, self.hostile.raw
        ids = (b"9999999999999-7", b"9223372036854775808-0", b"0-1", HIGHEST_ID)
        entry_id = b"*" if dice.random() < 0.9 else dice.choice(ids)
        nonce, previous = b"%08x" % dice.randrange(2**32), _bytes(self._foreign())
        body = self.hostile.body("msgpack")
        fields = dice.choice(
            (
                [raw(), raw()],
                [b"n", nonce],
                [b"n", nonce, b"p", previous],
                [b"n", raw(), b"p", previous, b"m", body],
                [b"n", nonce, b"p", previous, b"m", body],
                [b"n", nonce, b"p", raw(), b"m", body],
                [b"p", previous, b"n", nonce, b"m", body],
                [b"n", nonce, b"p", previous, b"x", body],
                [b"n", nonce, b"p", previous, b"m", body, raw(), raw()],
                [b"n", nonce] * dice.choice((3, 100, 9000)),
            )
        )
        return entry_id, fields

    def _wire(self) -> tuple[Any, bytes]:
        """Return what stands in the place of positions, and of a message."""
        dice = self.hostile.dice
        position, previous = self._foreign(), self._position()
        if dice.random() < 0.5:
            position = f"{dice.choice((0, 5, 2**64 - 1, int(time.time() * 1000)))}-0.0123abcd"
        head = dice.choice(
            (
                f"{position} {previous}",
                f"{position} {previous}",
                position,
                f"{position} ",
                f" {previous}",
                f"{position} {previous} {previous}",
                f"{position} {'9' * 100_000}",
                "",
            )
        )
        return head, self.hostile.body("msgpack")

    def _remove(self, kind: int) -> None:
        """Remove a part of the history."""
        client, stream, latest = self.client, self.stream, self.latest
        removals: tuple[Callable[[], object], ...] = (
            lambda: client.delete(stream),
            lambda: client.delete(latest),
            lambda: client.delete(stream, latest),
            lambda: client.pexpire(stream, 1),
            lambda: client.xtrim(stream, maxlen=2, approximate=False),
            lambda: client.xdel(stream, *latest_ids(1)),
            lambda: client.xdel(stream, *latest_ids(3)[2:]),
        )

        def latest_ids(count: int) -> list[Any]:
            entries: Any = client.xrevrange(stream, count=count)
            return [entry_id for entry_id, _ in entries]

        # Without an id there is nothing to remove.
        with contextlib.suppress(ResponseError):
            removals[kind]()

    def _text(self) -> bytes:
        """Return what stands in the key of the latest position."""
        is_raw = self.hostile.dice.random() < 0.3
        return self.hostile.raw() if is_raw else _bytes(self._foreign())


class QueueHistory(HistoryData):
    """Histories with the queue layer."""

    general = ("jobs",)

    def key(self) -> str:
        """Return the virtual channel of the group in this process."""
        return self.scene.own_name(GROUP)

    def publish(self, head: Any, body: bytes) -> None:
        """Write a message to the key of the process."""
        dice = self.hostile.dice
        message = self.hostile.message()
        message["__asgi_channel__"] = [self.key()]
        message["__asgi_position__"] = head if dice.random() < 0.8 else self.hostile.value()
        queue = beside(self.scene.layer, self.members[0].channel)
        data = as_msgpack(message) if dice.random() < 0.9 else body
        self.client.zadd(queue.key, {data: time.time()})
        self.client.zadd(queue.bell, {"": 0})


class PubSubHistory(HistoryData):
    """Histories with the Pub/Sub layer."""

    @property
    def tag(self) -> str:
        """The topic of the group."""
        return f"{self.scene.prefix}__group__{GROUP}"

    def key(self) -> bytes:
        """Return the topic of the group."""
        return self.tag.encode()

    def publish(self, head: Any, body: bytes) -> None:
        """Publish a message to the topic of the group."""
        dice = self.hostile.dice
        mark = MARK if dice.random() < 0.9 else b""
        end = b"\n" if dice.random() < 0.9 else b""
        self.client.publish(self.key(), mark + _bytes(head) + end + body)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
