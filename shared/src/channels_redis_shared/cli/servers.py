"""Connect to the servers of a layer, and find out what they are."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from ..transport.cluster import Cluster
from ..transport.errors import is_temporary
from .findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ..transport.commands import Command
    from ..transport.connection import Connection
    from ..transport.connector import Connector

# Seconds until a server has to reply.
REPLY_TIMEOUT = 10


@asynccontextmanager
async def open_connection(connector: Connector) -> AsyncIterator[Connection]:
    """Open a connection for the block."""
    connection = await connector.open()
    try:
        yield connection
    finally:
        connection.close()


async def ask(connection: Connection, *command: Any) -> Any:
    """Return the reply to a command; raise it if it is an error."""
    [reply] = await connection.exchange([command], REPLY_TIMEOUT)
    if isinstance(reply, Exception):
        raise reply
    return reply


async def list_servers(connector: Connector) -> list[tuple[str, Connector]]:
    """Return each server of a host, with its name.

    Raises:
        redis.exceptions.RedisError: The nodes of a Cluster can't be asked.
    """
    if not isinstance(connector, Cluster):
        return [(str(connector.host), connector)]
    await connector.learn()
    return [(f"{node[0]}:{node[1]}", connector.node(node)) for node in sorted(connector.owners())]


async def serving(layer: Any) -> AsyncIterator[Connection]:
    """Yield a connection to each server of a layer.

    Raises:
        redis.exceptions.RedisError: It can't be asked, or it has only a part of what there is.
    """
    for connector in layer._connectors:  # noqa: SLF001 - one package
        for name, server in await list_servers(connector):
            async with open_connection(server) as connection:
                info = await read_info(connection)
                found = check_role(info, in_cluster=isinstance(connector, Cluster))
                if found.level is Level.ERROR:
                    raise ResponseError(f"{name}: {found.text}: {found.advice}")
                yield connection


async def read_info(connection: Connection) -> dict[str, str]:
    """Return the fields of INFO; none if this user may not call it."""
    command: Command = ("INFO",)
    [reply] = await connection.exchange([command], REPLY_TIMEOUT)
    if isinstance(reply, RedisError):
        if is_temporary(reply):
            raise reply
        return {}
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in lines if colon}


def check_role(info: Mapping[str, str], *, in_cluster: bool) -> Finding:
    """Check that a server accepts writes, and is written in `hosts` as what it is.

    Args:
        info: Its INFO.
        in_cluster: Whether `hosts` has it as the node of a Cluster.
    """
    role, is_node = info.get("role"), info.get("cluster_enabled") == "1"
    if is_node and not in_cluster:
        text = "it is a node of a Redis Cluster, and has only a part of the keys"
        advice = 'write it as {"cluster": [("node1", 7000), ...]} in hosts'
        return Finding(Level.ERROR, "topology", text, advice)
    if role == "slave":
        text = f"it is a replica of {info.get('master_host')}:{info.get('master_port')}"
        advice = "write the master in hosts, or the Sentinels that know it"
        return Finding(Level.ERROR, "topology", text, advice)
    if role is None:
        return Finding(Level.NOTE, "topology", "unknown: this user may not call INFO")
    kind = "a node of a Cluster" if is_node else "a master"
    return Finding(Level.OK, "topology", f"{kind}, with {info['connected_slaves']} replicas")
