"""Commands and Lua scripts, and the interface of what sends them to one host or several."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pkgutil import get_data
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar
from zlib import crc32

import hiredis
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

Argument: TypeAlias = bytes | str | int | float
Command: TypeAlias = tuple[Argument, ...]
Item = TypeVar("Item")


# Encode a command in RESP.
pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]


@dataclass(frozen=True)
class Script:
    """A Lua script, sent by its hash."""

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        """Return the script with this Lua source."""
        return cls(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324 - Redis's name

    @classmethod
    def read(cls, package: str, name: str) -> Script:
        """Return the script in a file of a package's folder `lua`."""
        # Not importlib.resources, whose import takes half as long as all that a layer imports.
        source = get_data(package, f"lua/{name}.lua")
        if source is None:
            raise FileNotFoundError(f"{package} was loaded from where no files can be read")
        return cls.of(source.decode())

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


class Coalescer(Protocol):
    """Coalesce parts of several calls into one command, and split its reply."""

    def command(self, parts: Sequence[Any]) -> Command:
        """Return the command that executes the parts, in order."""

    def replies(self, reply: Any, parts: Sequence[Any]) -> Sequence[Any]:
        """Return the reply to each part, or the error to raise in its caller."""


@dataclass(eq=False, slots=True)
class PendingCommand:
    """A command that was not answered yet, and the future of its reply."""

    # The packed command; or with `coalescer`, a part for it: a sequence.
    content: Any
    coalescer: Coalescer | None
    # Its approximate size in bytes.
    size: int
    # Safe to execute twice: never true of a command that adds a message, or takes one away.
    idempotent: bool
    # How many commands that add messages one write may hold up to this one; 0 for any number.
    quota: int
    # A key that it uses; in a Cluster all are in its slot. None if any node may execute it.
    key: str | None
    slot: int | None = None
    reply: asyncio.Future[Any] = field(init=False)
    # The `monotonic()` after which it fails instead of being sent.
    deadline: float = field(init=False)

    @property
    def calls(self) -> Sequence[PendingCommand]:
        """The calls that the command is for, as those of a `CoalescedCommand`."""
        return (self,)

    def answer(self, reply: Any) -> None:
        """Return the reply to the caller."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: BaseException) -> None:
        """Raise the error in the caller, as a new instance."""
        settle(self.reply, copy_of(error))


def settle(waiter: asyncio.Future[Any], error: BaseException | None) -> None:
    """End a wait, unless it was cancelled."""
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
        # Marked as retrieved: asyncio would log it if the caller is gone.
        waiter.exception()


def copy_of(error: BaseException) -> BaseException:
    """Return a copy of an error: one raised in many callers would gather all their tracebacks."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error.__cause__
    return copy


class CommandClient(ABC):
    """The command connections of one event loop to one host, opened when first needed."""

    # The `Cluster` whose node is chosen by key; None with one server.
    _cluster: Any = None

    def execute(
        self,
        command: Command,
        *,
        key: str | None,
        slot: int | None = None,
        idempotent: bool = False,
    ) -> Awaitable[Any]:
        """Send the command and return its reply.

        Args:
            command: The command.
            key: A key that the command uses. In a Cluster, all are in its slot. None: any node may
                execute it, the same one as long as that works.
            slot: Its slot, for what names no key: the command goes to the owner of the slot.
            idempotent: Send the command again if the connection broke before its reply came. A
                command that was not written yet is sent on a new connection in any case.

        Raises:
            redis.exceptions.ConnectionError: The server is away, for longer than the host's
                `timeout`, or the connection broke after the command was written.
            redis.exceptions.TimeoutError: The server did not answer within `timeout` seconds.
            redis.exceptions.ResponseError: The server refused the command.
        """
        packed = pack(command)
        return self.call(PendingCommand(packed, None, len(packed), idempotent, 0, key, slot))

    def execute_coalesced(  # noqa: PLR0913 - most of them are keywords
        self,
        part: Sequence[Any],
        coalescer: Coalescer,
        size: int,
        *,
        key: str,
        idempotent: bool = False,
        quota: int = 0,
    ) -> Awaitable[Any]:
        """Send a part of a command; neighbouring parts with equal coalescers go as one command.

        Args:
            part: The arguments that this call contributes to the command.
            coalescer: Makes the command of parts.
            size: The approximate size of the part in bytes.
            key: As for `execute`.
            idempotent: As for `execute`.
            quota: If the part adds messages, the number of such parts that one write may hold
                with it; 0 for any number.
        """
        return self.call(PendingCommand(part, coalescer, size, idempotent, quota, key))

    def slot(self, key: str) -> int | None:
        """Return the slot of a key in a Cluster, where all keys of a command must share one."""
        slot: int | None = self._cluster and self._cluster.slot(key)
        return slot

    def node(self, key: str) -> object:
        """Return an identity of the Cluster node that has a key, as last learnt."""
        return self._cluster and self._cluster.owner(self._cluster.slot(key))

    @property
    def layout(self) -> object:
        """An identity of the slot map of a Cluster: another object after a change."""
        return self._cluster and self._cluster.layout

    async def slots(self) -> Sequence[int | None]:
        """Return a slot of each server that has keys now; without a Cluster, None.

        Raises:
            redis.exceptions.RedisError: As for `Cluster.learn`.
        """
        slots: Sequence[int | None] = [None]
        if self._cluster is not None:
            slots = await self._cluster.one_slot_each()
        return slots

    @abstractmethod
    async def close(self) -> None:
        """Close the connections. A later command opens new ones."""

    @abstractmethod
    def call(self, command: PendingCommand) -> Awaitable[Any]:
        """Send a command and return its reply, or a future of that."""


class Shards:
    """The command connections of one event loop, in the order of the hosts."""

    def __init__(self, clients: Sequence[CommandClient]) -> None:
        self._clients = clients

    def __getitem__(self, index: int) -> CommandClient:
        """Return the connections to the shard with this index."""
        return self._clients[index]

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self._clients)

    @property
    def are_one_place(self) -> bool:
        """True if one script may use any keys together: one server, and no Cluster."""
        return len(self._clients) == 1 and self._clients[0].slot("") is None

    def of(self, name: str) -> CommandClient:
        """Return the connections to the shard of a name."""
        if len(self._clients) == 1:
            return self._clients[0]
        return self._clients[shard_of(name, len(self._clients))]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.close() for client in self._clients))


def shard_of(name: str, shards: int) -> int:
    """Return the index, from 0, of the shard of a name.

    `channels_redis` on the same servers must choose the same one, so the ring of 4096 points and
    the division of floats are fixed.
    """
    if shards == 1:
        return 0
    return int((crc32(name.encode()) & 0xFFF) / (4096 / shards))


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Return the items in parts of a size, for one command each; the last one may be smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))
