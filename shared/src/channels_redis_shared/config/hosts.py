"""Parse the entries of the option `hosts`: URLs, pairs and dicts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

from .connection_arguments import (
    checked_host,
    checked_port,
    checked_seconds,
    complete_tls,
    connection_arguments,
    name_default_user,
    refuse_unknown_arguments,
)

# A host and a port.
Address: TypeAlias = tuple[str, int]

logger = logging.getLogger(__name__.partition(".")[0])

DEFAULT_TIMEOUT = 5.0  # seconds

_CLASSES = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}
_SENTINEL_OPTIONS = ("sentinels", "master_name", "sentinel_kwargs")
_ADDRESS_OPTIONS = ("address", "host", "port", "path")
_PAIR = 2
_AROUND_URLS = ("'", '"', " ")
_FORMS = (
    'a URL such as "redis://localhost:6379/0", a pair such as ("localhost", 6379), '
    'or a dict such as {"host": "localhost", "port": 6379}'
)
_UNSET = "If it comes from an environment variable, that is not set"
_ESCAPE = (
    "If the password holds characters such as '/', '#', '?' or '@', percent-encode them "
    "(urllib.parse.quote(password, safe=''))"
)


@dataclass(frozen=True)
class Host:
    """Connection settings of one server, of a master behind Sentinels, or of a Cluster.

    `ConnectionPool.from_url(host.url, **host.arguments).make_connection()` makes a connection.

    Attributes:
        url: "redis://", "rediss://" or "unix://", which selects redis-py's class of connection.
            The rest of a user's URL is in the arguments.
        arguments: Keyword arguments for the connection, without timeouts and without anything that
            makes redis-py repeat a command. For Sentinel and a Cluster, `host` and `port` have to
            be replaced.
        sentinels: Hosts and ports of the Sentinels to ask for the master; empty without Sentinel.
        master_name: The master's name in the configuration of the Sentinels.
        sentinel_arguments: Keyword arguments for redis-py's client of a Sentinel.
        nodes: Hosts and ports of the nodes to ask for the Cluster's topology; empty without a
            Cluster.
        in_cluster: Whether it is a node of a Cluster in `hosts`.
        timeout: Seconds that a command may take.
        connect_timeout: Seconds that opening a connection may take.
        entry: The entry in the user's `hosts`, as a dict.
    """

    url: str
    # Left out of the repr, as the others below: they may hold a password.
    arguments: Mapping[str, Any] = field(repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    master_name: str | None = None
    sentinel_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    nodes: tuple[tuple[str, int], ...] = ()
    in_cluster: bool = False
    timeout: float = DEFAULT_TIMEOUT
    connect_timeout: float = DEFAULT_TIMEOUT
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def at(self, address: Address) -> Host:
        """Return the settings for one node of the Cluster."""
        arguments = {**self.arguments, "host": address[0], "port": address[1]}
        return replace(self, nodes=(), in_cluster=True, arguments=arguments)

    def __str__(self) -> str:
        """Return the address for logs and errors, never with a password."""
        if self.sentinels:
            return f"master {self.master_name!r} of the Sentinels {_shown(self.sentinels)}"
        if self.nodes:
            return f"Redis Cluster of {_shown(self.nodes)}"
        if "path" in self.arguments:
            return f"{self.url}{self.arguments['path']}?db={self.arguments['db']}"
        address = _shown([(self.arguments["host"], self.arguments["port"])])
        return f"{self.url}{address}/{self.arguments['db']}"


def parse_hosts(hosts: object) -> tuple[Host, ...]:
    """Return the hosts in the option `hosts`; localhost if it is None or empty.

    Raises:
        ValueError: `hosts` or one of its entries is invalid; the text says what to write.
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
    if isinstance(hosts, AbstractSet) and len(entries) > 1:
        raise ValueError(
            "hosts must be a list, not a set: its order, which all processes must share, decides "
            "where each name is"
        )
    if _is_host_and_port(entries):
        if "://" in entries[0] or "@" in entries[0]:
            # Not shown, as a URL may hold a password.
            raise ValueError('hosts must be a list of hosts: write ["redis://localhost:6379/0"]')
        raise ValueError(f"hosts must be a list of hosts: write [({entries[0]!r}, {entries[1]!r})]")
    parsed = []
    for position, entry in enumerate(entries or ["redis://localhost:6379"]):
        try:
            parsed.append(_parse(_as_dict(entry)))
        except ValueError as error:
            # Without the cause: a traceback that shows values could show a password.
            raise ValueError(f"hosts[{position}]: {error}") from None
    return tuple(parsed)


def _parse(entry: Mapping[str, Any]) -> Host:
    options = dict(entry)
    several = _pop_cluster(options) if "cluster" in options else _pop_sentinel(options)
    scheme = _pop_scheme(options)
    timeout, connect_timeout = (
        checked_seconds(name, options.pop(name, None), DEFAULT_TIMEOUT)
        for name in ("socket_timeout", "socket_connect_timeout")
    )
    host = Host(
        # A class of the user's own needs "redis://": redis-py overrides it for the other two.
        url="redis://" if "connection_class" in options else f"{scheme}://",
        arguments=connection_arguments(options, _CLASSES[scheme]),
        timeout=timeout,
        connect_timeout=connect_timeout,
        entry=entry,
        **several,
    )
    try:
        ConnectionPool.from_url(host.url, **host.arguments).make_connection()
    except Exception as error:  # noqa: BLE001 - a user's connection_class may raise anything
        raise ValueError(str(error)) from None
    return host


def _as_dict(entry: object) -> dict[str, Any]:
    """Return an entry of any form as a dict entry."""
    if isinstance(entry, str):
        return {"address": entry}
    if isinstance(entry, tuple | list):
        if len(entry) == _PAIR + 1:
            # channels_redis 4 ignores the third value. Not shown, as it may be a password.
            logger.warning(
                "Ignored what stands behind host and port in hosts, as channels_redis 4 does: for "
                'another database write a dict, such as {"host": "localhost", "port": 6379, '
                '"db": 1}'
            )
            entry = entry[:_PAIR]
        if any(isinstance(part, list | tuple | Mapping) for part in entry) or _is_one_url(entry):
            raise ValueError("an entry of hosts is one host: remove the brackets around it")
        host, port = _pair(entry)
        return {"host": host, "port": port}
    if isinstance(entry, Mapping):
        return dict(entry)
    unset = "" if entry is not None else f". {_UNSET}"
    raise ValueError(f"a host cannot be of type {type(entry).__name__}: write {_FORMS}{unset}")


def _pop_sentinel(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options for Sentinel and return them as fields of a Host."""
    sentinels, master_name, arguments = (options.pop(name, None) for name in _SENTINEL_OPTIONS)
    if sentinels is master_name is arguments is None:
        return {}
    if not isinstance(sentinels, tuple | list) or not sentinels or _is_host_and_port(sentinels):
        raise ValueError('write the Sentinels as a list: "sentinels": [("sentinel1", 26379), ...]')
    if not isinstance(master_name, str) or not master_name:
        raise ValueError('Sentinels need the name of the master: "master_name": "mymaster"')
    _refuse(_ADDRESS_OPTIONS, options, "the Sentinels know the master's address")
    if not isinstance(arguments, Mapping | None):
        raise ValueError('sentinel_kwargs must be a dict, such as {"password": "..."}')
    arguments = dict(arguments or {})
    refuse_unknown_arguments(arguments, Redis, "in sentinel_kwargs, the argument")
    name_default_user(arguments)
    if not isinstance(arguments.get("ssl", False), bool):
        raise ValueError("sentinel_kwargs: ssl must be True or False")
    if arguments.get("ssl"):
        try:
            complete_tls(arguments)
        except ValueError as error:
            raise ValueError(f"sentinel_kwargs: {error}") from None
    return {
        "sentinels": _pairs("sentinels", sentinels),
        "master_name": master_name,
        "sentinel_arguments": arguments,
    }


def _pop_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the option for a Cluster and return it as a field of a Host."""
    nodes = options.pop("cluster")
    if not isinstance(nodes, tuple | list) or not nodes or _is_host_and_port(nodes):
        raise ValueError(
            'write some nodes of the Cluster as a list: "cluster": [("node1", 7000), ...]'
        )
    _refuse(
        (*_ADDRESS_OPTIONS, *_SENTINEL_OPTIONS), options, "a Cluster is found through its nodes"
    )
    if str(options.get("db") or 0) != "0":
        raise ValueError("a Redis Cluster has only database 0: leave out 'db'")
    return {"nodes": _pairs("cluster", nodes)}


def _pop_scheme(options: dict[str, Any]) -> str:
    """Replace `address` and `ssl` by plain connection arguments and return the URL's scheme."""
    scheme = "redis"
    if "address" in options:
        address = options.pop("address")
        _refuse(("host", "port", "path"), options, "the address is enough")
        if isinstance(address, tuple | list):
            options["host"], options["port"] = _pair(address)
        else:
            scheme, from_url = _parse_url(address)
            # The URL takes precedence, as in redis-py.
            options.update(from_url)
    tls = options.pop("ssl", False)
    if not isinstance(tls, bool):
        raise ValueError('ssl must be True or False; in a URL, write "rediss://" for TLS')
    if "path" not in options:
        return "rediss" if tls else scheme
    _refuse(("host", "port"), options, "the path is enough")
    if tls:
        raise ValueError("a UNIX socket has no TLS: leave out 'ssl'")
    return "unix"


def _refuse(names: Iterable[str], options: Mapping[str, Any], reason: str) -> None:
    for name in names:
        if name in options:
            raise ValueError(f"{reason}: leave out {name!r}")


def _parse_url(address: object) -> tuple[str, dict[str, Any]]:
    """Return the scheme of a URL and the connection arguments in it.

    No error shows the URL, as it may hold a password.
    """
    if not isinstance(address, str) or not address:
        # Bytes may hold a password.
        shown = repr(address) if not address else f"of type {type(address).__name__}"
        raise ValueError(
            f'an address must be a URL such as "redis://localhost:6379/0", not {shown}. {_UNSET}'
        )
    if address.startswith(_AROUND_URLS) or address.endswith(_AROUND_URLS):
        raise ValueError(
            "the URL has quotes or spaces around it: write it without them, also in an env file"
        )
    scheme, separator, _ = address.partition("://")
    scheme = scheme.lower()
    # With other characters it is not a scheme, and may be part of a password.
    if not separator or not scheme.replace("+", "").isalnum():
        raise ValueError(f"the address is not a URL: {_instead_of(address)}")
    if scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(
            f"the scheme {scheme}:// is unknown: write redis://, rediss:// (TLS) or unix://. "
            'For Sentinel write a dict: {"sentinels": [("sentinel1", 26379)], '
            '"master_name": "mymaster"}'
        )
    _check_url(scheme, address)
    arguments = dict(parse_url(address))
    arguments.pop("connection_class", None)
    return scheme, arguments


def _instead_of(address: str) -> str:
    if address.startswith("/"):
        return 'write a UNIX socket as "unix:///run/redis.sock?db=0"'
    if address.startswith(("redis:", "rediss:", "unix:")):
        return 'write two slashes after the colon, as in "redis://localhost:6379/0"'
    if address.startswith(("$", "{", "%")):
        return "a variable stands in it by name, and was not replaced by its value"
    if "redis://" in address or "rediss://" in address:
        return "write nothing before redis:// or rediss://"
    return 'write "redis://" before it, as in "redis://localhost:6379/0"'


def _check_url(scheme: str, address: str) -> None:
    """Raise ValueError for parts that redis-py would misread or ignore."""
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        # Without the cause: its text may hold the password.
        raise ValueError(
            "the host or the port of the URL is not valid: a port is a number from 1 to 65535, and "
            'an IPv6 address has brackets, as in "redis://[::1]:6379/0"; several servers are '
            f"several entries. {_ESCAPE}"
        ) from None
    if port == 0:
        # redis-py would connect to the default port.
        raise ValueError("the port of the URL must be a number from 1 to 65535, not 0")
    path = unquote(url.path).strip("/")
    if url.fragment or "@" in url.query:
        raise ValueError(f"the URL has '#', or '@' after '?'. {_ESCAPE}")
    if scheme == "unix":
        if url.hostname or not path:
            raise ValueError(
                'write a UNIX socket with three slashes, as in "unix:///run/redis.sock?db=0"'
            )
    elif path and not path.isdecimal():
        raise ValueError(
            "the path of the URL must be the number of a database, as in "
            f'"redis://localhost:6379/0". {_ESCAPE}'
        )


def _pairs(name: str, values: Iterable[object]) -> tuple[tuple[str, int], ...]:
    pairs = []
    for position, value in enumerate(values):
        try:
            pairs.append(_pair(value))
        except ValueError as error:
            raise ValueError(f"{name}[{position}]: {error}") from None
    return tuple(pairs)


def _pair(value: object) -> tuple[str, int]:
    if not isinstance(value, tuple | list) or len(value) != _PAIR:
        # A str is not shown, as a URL may hold a password.
        raise ValueError('write a host and a port as a pair, such as ("localhost", 6379)')
    return checked_host(value[0]), checked_port(value[1])


def _shown(addresses: Iterable[tuple[str, int]]) -> str:
    return ", ".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses
    )


def _is_one_url(value: list[Any] | tuple[Any, ...]) -> bool:
    return len(value) == 1 and isinstance(value[0], str) and "://" in value[0]


def _is_host_and_port(value: list[Any] | tuple[Any, ...]) -> bool:
    return (
        len(value) == _PAIR
        and isinstance(value[0], str)
        and (isinstance(value[1], int) or (isinstance(value[1], str) and value[1].isdecimal()))
    )
