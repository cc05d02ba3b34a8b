"""What each entry of the option `hosts` means."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

from .connection_arguments import (
    checked_host,
    checked_port,
    checked_seconds,
    complete_tls,
    connection_arguments,
    name_default_user,
    refuse_unknown_arguments,
)
from .urls import parse_address

logger = logging.getLogger(__name__.partition(".")[0])

DEFAULT_SECONDS = 5.0

_CLASSES = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}
_SENTINEL_OPTIONS = ("sentinels", "master_name", "sentinel_kwargs")
_ADDRESS_OPTIONS = ("address", "host", "port", "path")
_PAIR = 2
_FORMS = (
    'a URL such as "redis://localhost:6379/0", a pair such as ("localhost", 6379), '
    'or a dict such as {"host": "localhost", "port": 6379}'
)


@dataclass(frozen=True)
class Host:
    """One server, the master that Sentinels know of, or a Cluster: what it takes to connect.

    `ConnectionPool.from_url(host.url, **host.arguments).make_connection()` makes a connection.

    Attributes:
        url: "redis://", "rediss://" or "unix://", which selects redis-py's class of connection.
            What a user's URL said besides is in the arguments.
        arguments: Keyword arguments for the connection, without timeouts and without all that
            makes redis-py repeat a command. For Sentinel and a Cluster, `host` and `port` are to be
            replaced.
        sentinels: Not empty: hosts and ports of the Sentinels to ask for the master.
        master_name: The name that the Sentinels know the master by.
        sentinel_arguments: Keyword arguments for redis-py's client of a Sentinel.
        nodes: Not empty: hosts and ports of the nodes of a Cluster to ask for all others.
        timeout: Seconds that a command may take.
        connect_timeout: Seconds that opening a connection may take.
    """

    url: str
    # Neither is ever shown: they may hold a password.
    arguments: Mapping[str, Any] = field(repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    master_name: str | None = None
    sentinel_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    nodes: tuple[tuple[str, int], ...] = ()
    timeout: float = DEFAULT_SECONDS
    connect_timeout: float = DEFAULT_SECONDS
    # What the user wrote, as a dict.
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def at(self, address: tuple[str, int]) -> Host:
        """Return one node of the Cluster, as a server that is connected to in the same way."""
        arguments = {**self.arguments, "host": address[0], "port": address[1]}
        return replace(self, nodes=(), arguments=arguments)

    def __str__(self) -> str:
        """Return where the server is, for a line of a log: never a password."""
        if self.sentinels:
            return f"master {self.master_name!r} of the Sentinels {_shown(self.sentinels)}"
        if self.nodes:
            return f"Redis Cluster of {_shown(self.nodes)}"
        if "path" in self.arguments:
            return f"{self.url}{self.arguments['path']}?db={self.arguments['db']}"
        address = _shown([(self.arguments["host"], self.arguments["port"])])
        return f"{self.url}{address}/{self.arguments['db']}"


def parse_hosts(hosts: object) -> tuple[Host, ...]:
    """Return the hosts that the option `hosts` names; localhost if it is None or empty.

    Raises:
        ValueError: `hosts` or one of its entries is not valid; the text says what to write.
    """
    if hosts is None:
        hosts = ()
    if isinstance(hosts, str | bytes):
        raise ValueError(
            'hosts must be a list: write ["redis://localhost:6379"], not one str or bytes'
        )
    if isinstance(hosts, Mapping):
        raise ValueError("hosts must be a list: write [{...}], not one dict")
    if not isinstance(hosts, Iterable):
        raise ValueError(
            f"hosts must be a list of hosts, not {type(hosts).__name__}; a host is {_FORMS}"
        )
    entries = list(hosts)
    if _is_host_and_port(entries):
        raise ValueError(f"hosts must be a list of hosts: write [({entries[0]!r}, {entries[1]!r})]")
    parsed = []
    for position, entry in enumerate(entries or ["redis://localhost:6379"]):
        try:
            parsed.append(_parse(_as_dict(entry)))
        except ValueError as error:
            # The cause is left out: a traceback that shows values could show a password.
            raise ValueError(f"hosts[{position}]: {error}") from None
    return tuple(parsed)


def _parse(entry: Mapping[str, Any]) -> Host:
    options = dict(entry)
    several = _take_sentinel(options) if "cluster" not in options else _take_cluster(options)
    scheme = _take_scheme(options)
    timeout = _take_seconds(options, "socket_timeout")
    connect_timeout = _take_seconds(options, "socket_connect_timeout")
    host = Host(
        # A class of the user's own has to stand beside "redis://": the other two bring theirs.
        url="redis://" if "connection_class" in options else f"{scheme}://",
        arguments=connection_arguments(options, _CLASSES[scheme]),
        timeout=timeout,
        connect_timeout=connect_timeout,
        entry=entry,
        **several,
    )
    try:
        ConnectionPool.from_url(host.url, **host.arguments).make_connection()
    except (RedisError, TypeError) as error:
        raise ValueError(str(error)) from None
    return host


def _as_dict(entry: object) -> dict[str, Any]:
    """Return an entry of any form as a dict with the keys of a dict entry."""
    if isinstance(entry, str):
        return {"address": entry}
    if isinstance(entry, tuple | list):
        host, port = _pair(_without_third(entry))
        return {"host": host, "port": port}
    if isinstance(entry, Mapping):
        return dict(entry)
    raise ValueError(f"a host cannot be of type {type(entry).__name__}: write {_FORMS}")


def _without_third(entry: tuple[Any, ...] | list[Any]) -> tuple[Any, ...] | list[Any]:
    """Return the pair in a triple, of which channels_redis 4 takes no more."""
    if len(entry) != _PAIR + 1:
        return entry
    # Not shown: it may be a password.
    logger.warning(
        "Ignored what stands behind host and port in hosts, as channels_redis 4 does: for another "
        'database write a dict, such as {"host": "localhost", "port": 6379, "db": 1}'
    )
    return entry[:_PAIR]


def _take_sentinel(options: dict[str, Any]) -> dict[str, Any]:
    """Remove what concerns Sentinel from the options, and return it as fields of a Host."""
    if not any(name in options for name in _SENTINEL_OPTIONS):
        return {}
    sentinels, master_name, arguments = (options.pop(name, None) for name in _SENTINEL_OPTIONS)
    if not isinstance(sentinels, tuple | list) or not sentinels or _is_host_and_port(sentinels):
        raise ValueError('write the Sentinels as a list: "sentinels": [("sentinel1", 26379), ...]')
    if not isinstance(master_name, str) or not master_name:
        raise ValueError(
            'Sentinels need the name that they know the master by: "master_name": "mymaster"'
        )
    for name in _ADDRESS_OPTIONS:
        if name in options:
            raise ValueError(f"the Sentinels know where the master is: leave out {name!r}")
    if not isinstance(arguments, Mapping | None):
        raise ValueError('sentinel_kwargs must be a dict, such as {"password": "..."}')
    arguments = dict(arguments or {})
    refuse_unknown_arguments(arguments, Redis, "in sentinel_kwargs, the argument")
    name_default_user(arguments)
    if arguments.get("ssl"):
        try:
            complete_tls(arguments)
        except ValueError as error:
            raise ValueError(f"sentinel_kwargs: {error}") from None
    return {
        "sentinels": tuple(_pair(sentinel) for sentinel in sentinels),
        "master_name": master_name,
        "sentinel_arguments": arguments,
    }


def _take_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Remove what concerns a Cluster from the options, and return it as fields of a Host."""
    nodes = options.pop("cluster")
    if not isinstance(nodes, tuple | list) or not nodes or _is_host_and_port(nodes):
        raise ValueError(
            'write some nodes of the Cluster as a list: "cluster": [("node1", 7000), ...]'
        )
    for name in (*_ADDRESS_OPTIONS, *_SENTINEL_OPTIONS):
        if name in options:
            raise ValueError(f"the Cluster's nodes say where it is: leave out {name!r}")
    if str(options.get("db") or 0) != "0":
        raise ValueError("a Redis Cluster has no database but 0: leave out 'db'")
    return {"nodes": tuple(_pair(node) for node in nodes)}


def _take_scheme(options: dict[str, Any]) -> str:
    """Put what `address` and `ssl` say into the options, and return the scheme for a URL."""
    scheme = "redis"
    address = options.pop("address", None)
    if address is not None:
        for name in ("host", "port", "path"):
            if name in options:
                raise ValueError(f"address says where the server is: leave out {name!r}")
        if isinstance(address, tuple | list):
            options["host"], options["port"] = _pair(address)
        else:
            scheme, found = parse_address(address)
            # As in redis-py, the URL has the last word.
            options.update(found)
    tls = options.pop("ssl", False)
    if not isinstance(tls, bool):
        raise ValueError('ssl must be True or False; in a URL, write "rediss://" for TLS')
    if "path" not in options:
        return "rediss" if tls else scheme
    for name in ("host", "port"):
        if name in options:
            raise ValueError(f"path says where the server is: leave out {name!r}")
    if tls:
        raise ValueError("a UNIX socket has no TLS: leave out 'ssl'")
    return "unix"


def _take_seconds(options: dict[str, Any], name: str) -> float:
    return checked_seconds(name, options.pop(name, None), DEFAULT_SECONDS)


def _pair(value: object) -> tuple[str, int]:
    """Return a host and a port, checked."""
    if not isinstance(value, tuple | list) or len(value) != _PAIR:
        # A str is not shown, as a URL may hold a password.
        raise ValueError('write a host and a port as a pair, such as ("localhost", 6379)')
    return checked_host(value[0]), checked_port(value[1])


def _shown(addresses: Iterable[tuple[str, int]]) -> str:
    """Return addresses as a text, IPv6 ones in brackets."""
    return ", ".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses
    )


def _is_host_and_port(value: list[Any] | tuple[Any, ...]) -> bool:
    """Tell whether what should be a list of hosts is a single host and its port."""
    return (
        len(value) == _PAIR
        and isinstance(value[0], str)
        and (isinstance(value[1], int) or (isinstance(value[1], str) and value[1].isdecimal()))
    )
