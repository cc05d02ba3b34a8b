"""A call that can't be sent together with others, or whose reply can't be told apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.connector import Connector
from channels_redis_shared.transport.pipeline import AutoPipeline
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from channels_redis_shared.transport.commands import Command
    from embedded_server import EmbeddedServer


@dataclass(frozen=True)
class Broken:
    """Coalesce commands, with a fault before they are sent or after."""

    word: str

    def command(self, parts: Sequence[Any]) -> Command:
        """Return a command, which may hold what is no text."""
        return ("ECHO", self.word, *parts[0])

    def replies(self, reply: Any, parts: Sequence[Any]) -> list[Any]:
        """Fail."""
        raise IndexError(f"{reply} to {parts}")


@pytest.mark.parametrize(
    ("word", "error"), [("\ud800", UnicodeEncodeError), ("any", IndexError)], ids=["sent", "read"]
)
async def test_call_that_cannot_be_coalesced(
    redis_server: EmbeddedServer, word: str, error: type[Exception]
) -> None:
    """It fails alone, on a connection that stays open."""
    [host] = parse_hosts([redis_server.url])
    pipeline = AutoPipeline(Connector(host))
    number = await pipeline.execute(("CLIENT", "ID"), key="")
    found = await within(
        asyncio.gather(
            pipeline.execute(("ECHO", "before"), key=""),
            pipeline.execute_coalesced((), Broken(word), 1, key=""),
            pipeline.execute(("ECHO", "after"), key=""),
            return_exceptions=True,
        )
    )
    assert (found[0], found[2]) == (b"before", b"after")
    assert isinstance(found[1], error)
    assert await pipeline.execute(("CLIENT", "ID"), key="") == number
    await pipeline.close()
