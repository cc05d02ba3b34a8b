"""Closes connections without waiting for the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection


async def close_now(connection: AbstractConnection) -> None:
    """Close a connection from which nothing is expected any more."""
    writer = connection._writer  # noqa: SLF001
    await connection.disconnect(nowait=True)
    if writer is not None and writer.get_extra_info("sslcontext") is not None:
        # TLS would wait for the other side's goodbye, and the event loop may end before it comes.
        writer.transport.abort()
