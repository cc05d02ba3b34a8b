"""Makes one script call of what is sent in one turn of the event loop, or read of one group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from . import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._shared.transport.commands import Command
    from ._shared.transport.pipeline import CommandClient


class OutgoingMessage(NamedTuple):
    """A message on its way to a message key."""

    key: str
    bell: str
    # Where messages are counted by channel; the message key if they are not.
    counts: str
    capacity: int
    # Stands for the channel or group.
    counted: int
    message: bytes


class ExpectedMembers(NamedTuple):
    """What a group must look like for a message to be sent to it."""

    group_key: str
    # Seconds that a membership lives.
    group_expiry: int
    # Its names, as GROUP_MEMBERS returns them.
    names: bytes


class SendBatch(NamedTuple):
    """Joins posts into one command, whose reply tells which of them found their key full."""

    # Seconds that a message lives.
    expiry: int
    # Without one, they are sent whatever any group looks like.
    guard: ExpectedMembers | None = None

    async def send(self, posts: Sequence[OutgoingMessage], commands: CommandClient) -> Any:
        """Send the posts. In a Cluster, the keys of all are in one slot.

        Returns:
            The positions of those that found their key full; or the names that the group of the
            guard has, as bytes, if they are others: then nothing was sent.

        Raises:
            redis.exceptions.ResponseError: Also if a key holds something else than messages; the
                posts for other keys have been sent.
        """
        # Half of what a key holds.
        quotas = {post.key: max(1, post.capacity // 2) for post in posts}
        size = sum(len(post.message) for post in posts)
        return await commands.execute_coalesced(posts, self, size, key=posts[0].key, quotas=quotas)

    def command(self, parts: Sequence[Sequence[OutgoingMessage]]) -> Command:
        """Return the command that adds all messages."""
        names: list[str] = []
        arguments: list[int | bytes] = [self.expiry, 0, b""]
        if self.guard is not None:
            names.append(self.guard.group_key)
            arguments[1:] = self.guard.group_expiry, self.guard.names
        # Many are for one process, whose keys are as long as a message.
        destinations: dict[str, int] = {}
        for posts in parts:
            for post in posts:
                destination = destinations.get(post.key)
                if destination is None:
                    destination = destinations[post.key] = len(destinations) + 1
                    names += (post.key, post.bell, post.counts)
                arguments += (destination, post.capacity, post.counted, post.message)
        return scripts.SEND.call(names, *arguments)

    def replies(self, reply: Any, parts: Sequence[Sequence[OutgoingMessage]]) -> list[Any]:
        """Return for each part what `send` returns, or the error that it raises."""
        if isinstance(reply, bytes):
            return [reply] * len(parts)
        if not reply:
            return [[] for _ in parts]
        errors = {one[0]: ResponseError(one[1].decode()) for one in reply if isinstance(one, list)}
        full = {one for one in reply if isinstance(one, int)}
        found: list[Any] = []
        first = 1
        for posts in parts:
            positions = range(first, first + len(posts))
            error = next((errors[at] for at in positions if at in errors), None)
            found.append(error or [at - first for at in positions if at in full])
            first += len(posts)
        return found


class MembersQuery(NamedTuple):
    """Joins the reads of one group's members, so that a burst of sends reads them once."""

    group_key: str
    # Seconds that a membership lives.
    group_expiry: int

    async def read(self, commands: CommandClient) -> bytes:
        """Return the names in the group, with blanks between them."""
        names: bytes = await commands.execute_coalesced(
            (self.group_key,), self, 0, key=self.group_key, idempotent=True
        )
        return names

    def command(self, parts: Sequence[Any]) -> Command:  # noqa: ARG002 - all ask the same
        """Return the command that reads them."""
        return scripts.GROUP_MEMBERS.call([self.group_key], self.group_expiry)

    def replies(self, reply: Any, parts: Sequence[Any]) -> list[Any]:
        """Return the names, for each."""
        return [reply] * len(parts)
