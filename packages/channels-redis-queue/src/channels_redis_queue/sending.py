"""Makes one script call of what is sent in one turn of the event loop, or read of one group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from . import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._shared.batching import Commands
    from ._shared.connections import Command


class Post(NamedTuple):
    """A message on its way to a message key."""

    key: str
    bell: str
    capacity: int
    message: bytes


@dataclass(frozen=True)
class Posts:
    """Joins posts into one command, whose reply tells which of them found their key full."""

    # Seconds that a message lives.
    expiry: int

    async def send(self, posts: Sequence[Post], commands: Commands) -> list[int]:
        """Send the posts; return the positions of those that found their key full.

        In a Cluster, the keys of all are in one slot.
        """
        # Half of what a key holds.
        fills = {post.key: max(1, post.capacity // 2) for post in posts}
        size = sum(len(post.message) for post in posts)
        full: list[int] = await commands.execute_part(
            posts, self, size, key=posts[0].key, fills=fills
        )
        return full

    def command(self, parts: Sequence[Sequence[Post]]) -> Command:
        """Return the command that adds all messages."""
        names: list[str] = []
        messages: list[int | bytes] = []
        for posts in parts:
            for post in posts:
                names += (post.key, post.bell)
                messages += (post.capacity, post.message)
        return scripts.SEND.call(names, self.expiry, *messages)

    def replies(self, reply: Any, parts: Sequence[Sequence[Post]]) -> list[list[int]]:
        """Return for each part the positions of the posts whose key was full."""
        if not reply:
            return [[] for _ in parts]
        full = set(reply)
        found, first = [], 1
        for posts in parts:
            found.append([at for at in range(len(posts)) if first + at in full])
            first += len(posts)
        return found


@dataclass(frozen=True)
class Members:
    """Joins the reads of one group's members, so that a burst of sends reads them once."""

    group_key: str
    # Seconds that a membership lives.
    group_expiry: int

    async def read(self, commands: Commands) -> list[str]:
        """Return the names in the group."""
        names: bytes = await commands.execute_part(
            (self.group_key,), self, 0, key=self.group_key, repeatable=True
        )
        return names.decode(errors="replace").split(" ") if names else []

    def command(self, parts: Sequence[Any]) -> Command:  # noqa: ARG002 - all ask the same
        """Return the command that reads them."""
        return scripts.GROUP_MEMBERS.call([self.group_key], self.group_expiry)

    def replies(self, reply: Any, parts: Sequence[Any]) -> list[Any]:
        """Return the names, for each."""
        return [reply] * len(parts)
