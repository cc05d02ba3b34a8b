"""Asks a server about itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ..transport.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..transport.commands import Command
    from ..transport.connection import Connection
    from ..transport.connector import Connector

# Round trips, for a 99th percentile that means something.
PINGS = 200


@dataclass(frozen=True)
class Facts:
    """What a server says of itself.

    Attributes:
        info: The fields of INFO; none if this user may not ask.
        buffers: Hard limit and soft limit in bytes, and seconds, by class of clients; None: this
            user may not ask.
        round_trips: Seconds that each took, the shortest first.
        clock: Seconds that its clock is ahead of ours; None: this user may not ask.
    """

    info: Mapping[str, str]
    buffers: Mapping[str, tuple[int, int, int]] | None
    round_trips: list[float]
    clock: float | None

    @property
    def name(self) -> str:
        """Its product and version."""
        product = "Valkey" if "valkey_version" in self.info else "Redis"
        number = self.info.get("valkey_version") or self.info.get("redis_version")
        return f"{product} {number}" if number else "a server that does not tell its version"


async def servers_of(connector: Connector) -> list[tuple[str, Connector]]:
    """Return each server of a host, with its name.

    Raises:
        redis.exceptions.RedisError: The nodes of a Cluster can't be asked.
    """
    if not isinstance(connector, Cluster):
        return [(str(connector.host), connector)]
    await connector.learn()
    return [
        (f"{host}:{port}", connector.node((host, port)))
        for host, port in sorted(connector.owners())
    ]


async def ask(link: Connection, *commands: Command) -> list[Any]:
    """Send commands in one write and return their replies, error replies too."""
    return await link.exchange(commands, 10)


async def find_facts(link: Connection) -> Facts:
    """Ask the server on a new connection about itself.

    Raises:
        redis.exceptions.RedisError: The connection broke.
    """
    round_trips = sorted([await _seconds(link) for _ in range(PINGS)])
    clock = await _clock(link)
    info, limits = await ask(link, ("INFO",), ("CONFIG", "GET", "client-output-buffer-limit"))
    return Facts(read_info(info), read_buffers(limits), round_trips, clock)


def read_info(reply: Any) -> dict[str, str]:
    """Return the fields in what INFO replied."""
    if not isinstance(reply, bytes | str):
        return {}
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, mark, value in lines if mark}


def read_buffers(reply: Any) -> dict[str, tuple[int, int, int]] | None:
    """Return the limits in what CONFIG GET client-output-buffer-limit replied."""
    if isinstance(reply, dict):
        reply = [text for pair in reply.items() for text in pair]
    if not isinstance(reply, list) or not reply:
        return None
    words = reply[1].decode().split()
    return {
        words[at]: (int(words[at + 1]), int(words[at + 2]), int(words[at + 3]))
        for at in range(0, len(words), 4)
    }


async def _seconds(link: Connection) -> float:
    # A user without the right to PING gets its refusal in the same time.
    started = time.perf_counter()
    await ask(link, ("PING",))
    return time.perf_counter() - started


async def _clock(link: Connection) -> float | None:
    before = time.time()
    [reply] = await ask(link, ("TIME",))
    ours = (before + time.time()) / 2
    if isinstance(reply, RedisError):
        return None
    return float(reply[0]) + float(reply[1]) / 1_000_000 - ours
