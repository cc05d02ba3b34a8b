"""Connect to the servers of a layer, and find out what they are."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from ..transport.cluster import Cluster
from ..transport.errors import is_temporary
from .findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ..transport.connection import Connection
    from ..transport.connector import Connector

# Channels and groups that `stats` names.
MAX_ROWS = 20
# Seconds until a server has to reply.
REPLY_TIMEOUT = 10


async def ask(connection: Connection, *command: Any) -> Any:
    """Return the reply to a command; raise it if it is an error."""
    [reply] = await connection.exchange([command], REPLY_TIMEOUT)
    if isinstance(reply, Exception):
        raise reply
    return reply


async def list_servers(connector: Connector) -> list[Connector]:
    """Return each server of a host.

    Raises:
        redis.exceptions.RedisError: The nodes of a Cluster can't be asked.
    """
    if not isinstance(connector, Cluster):
        return [connector]
    await connector.learn()
    return [connector.node(node) for node in sorted(connector.owners())]


async def serving(layer: Any) -> AsyncIterator[Connection]:
    """Yield a connection to each server of a layer.

    Raises:
        redis.exceptions.RedisError: It can't be asked, or it has only a part of what there is.
    """
    for connector in layer._connectors:  # noqa: SLF001 - one package
        for server in await list_servers(connector):
            with closing(await server.open()) as connection:
                found = check_role(await read_info(connection), server)
                if found.level is Level.ERROR:
                    raise ResponseError(f"{server.host}: {found.text}: {found.advice}")
                yield connection


async def read_info(connection: Connection) -> dict[str, str]:
    """Return the fields of INFO; none if this user may not call it."""
    try:
        reply = await ask(connection, "INFO")
    except RedisError as error:
        if is_temporary(error):
            raise
        return {}
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def check_role(info: Mapping[str, str], server: Connector) -> Finding:
    """Check that a server accepts writes, and is written in `hosts` as what it is.

    Args:
        info: Its INFO.
        server: The connector to it.
    """
    role, is_node = info.get("role"), info.get("cluster_enabled") == "1"
    if is_node and not server.host.in_cluster:
        text = "it is a node of a Redis Cluster, and has only a part of the keys"
        advice = 'write it as {"cluster": [("node1", 7000), ...]} in hosts'
        return Finding(Level.ERROR, "topology", text, advice)
    if role == "slave":
        text = f"it is a replica of {info.get('master_host')}:{info.get('master_port')}"
        advice = "write the master in hosts, or the Sentinels that know it"
        return Finding(Level.ERROR, "topology", text, advice)
    kind = "a node of a Cluster" if is_node else "a master"
    replicas = info.get("connected_slaves", "unknown")
    return Finding(Level.OK, "topology", f"{kind}, with {replicas} replicas")
