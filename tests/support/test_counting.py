from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from support.counting import count_commands

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer


def test_counts_commands_and_bytes(own_server: EmbeddedServer) -> None:
    """Commands and bytes on a connection that was there before are counted exactly."""
    connection = redis.Connection(port=own_server.port, protocol=2)
    connection.connect()
    with count_commands(own_server) as counted:
        for _ in range(3):
            connection.send_command("SET", "a", "b")
            connection.read_response()
        connection.send_command("INFO", "server")
        info = connection.read_response()
    connection.disconnect()
    assert counted.commands == {"set": 3, "info": 1}
    assert counted.total == 4
    assert counted.connections == 0
    assert counted.bytes_in == 3 * len("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n") + len(
        "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"
    )
    assert counted.bytes_out == 3 * len("+OK\r\n") + len(info) + len(f"${len(info)}\r\n\r\n")
