"""Counting what a server was asked to do, from its own statistics."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_server import EmbeddedServer

INFO = ("INFO", "all")


@dataclass(frozen=True)
class Snapshot:
    """A server's totals at one moment."""

    statistics: dict[str, str]
    reply_size: int  # bytes that the server sent for the snapshot itself

    def calls(self) -> dict[str, int]:
        """Return how often each command ran, by its name in lower case."""
        return {
            name.removeprefix("cmdstat_"): int(value.split(",")[0].removeprefix("calls="))
            for name, value in self.statistics.items()
            if name.startswith("cmdstat_")
        }

    def total(self, name: str) -> int:
        """Return a number of INFO's "stats" section."""
        return int(self.statistics[name])


@dataclass
class Counted:
    """The commands of a `count_commands` block. Read it after the block.

    Attributes:
        commands: How often each command ran, by its name in lower case ("evalsha", "zadd",
            "client|setinfo"). Commands that a script calls are counted too, beside the script.
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
    # Its type has another name in each major version of redis-py.
    connection: Any = server.client().connection_pool.make_connection()
    connection.connect()
    counted = Counted()
    try:
        before = _snapshot(connection)
        yield counted
        after = _snapshot(connection)
    finally:
        connection.disconnect()
    _fill(counted, before, after, request_size=len(b"".join(connection.pack_command(*INFO))))


def _snapshot(connection: Any) -> Snapshot:
    connection.send_command(*INFO)
    reply: bytes = connection.read_response()
    lines = (line.partition(":") for line in reply.decode().splitlines())
    statistics = {name: value for name, colon, value in lines if colon}
    return Snapshot(statistics, reply_size=len(reply) + len(b"$%d\r\n\r\n" % len(reply)))


def _fill(counted: Counted, before: Snapshot, after: Snapshot, request_size: int) -> None:
    """Set the differences, less what falls between two snapshots: one INFO and its reply."""
    calls_before = before.calls()
    counted.commands = {
        name: new
        for name, calls in after.calls().items()
        if (new := calls - calls_before.get(name, 0) - (name == "info"))
    }

    def grown(name: str) -> int:
        return after.total(name) - before.total(name)

    counted.connections = grown("total_connections_received")
    counted.bytes_in = grown("total_net_input_bytes") - request_size
    counted.bytes_out = grown("total_net_output_bytes") - before.reply_size
