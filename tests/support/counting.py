"""Counting what a server was asked to do, from its own statistics."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from embedded_server import EmbeddedServer


@dataclass
class Counted:
    """The commands of a `count_commands` block. Read it after the block.

    Attributes:
        commands: How often each command ran, by its name in lower case ("evalsha", "zadd",
            "client|setinfo"). Commands that a script calls are counted too, besides the script.
        connections: How many connections were accepted.
        bytes_in: Bytes that the server read.
        bytes_out: Bytes that the server wrote.
    """

    commands: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def total(self) -> int:
        """The total number of commands."""
        return sum(self.commands.values())


@contextmanager
def count_commands(server: EmbeddedServer) -> Iterator[Counted]:
    """Count what all clients of ``server`` do inside the block, without what counting costs.

    Use it on a server of the test's own: on a shared one, others' commands count as well.

    >>> with count_commands(own_server) as counted:
    ...     await layer.send(channel, message)
    >>> assert counted.commands == {"evalsha": 1, ...}
    """
    counted = Counted()
    with server.client() as client:
        client.response_callbacks.clear()
        before, reply_size = _totals(client)
        yield counted
        after, _ = _totals(client)
    grown = {name: total - before.get(name, 0) for name, total in after.items()}
    grown["cmdstat_info"] = 0
    counted.commands = {
        name.removeprefix("cmdstat_"): count
        for name, count in grown.items()
        if name.startswith("cmdstat_") and count
    }
    counted.connections = grown["total_connections_received"]
    counted.bytes_in = grown["total_net_input_bytes"]
    counted.bytes_out = grown["total_net_output_bytes"] - reply_size


def _totals(client: redis.Redis) -> tuple[dict[str, int], int]:
    """Return all numbers of a server, for a command its calls, and how large its reply was."""
    reply: bytes = client.execute_command("INFO", "all")
    lines = (line.partition(":") for line in reply.decode().splitlines())
    numbers = {name: value.removeprefix("calls=").partition(",")[0] for name, _, value in lines}
    return {name: int(value) for name, value in numbers.items() if value.isdecimal()}, len(reply)
