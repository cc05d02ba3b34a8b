"""Parse the entries of the option `hosts`: URLs, pairs and dicts."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, connection

from . import connection_arguments as arguments_of

# A host and a port.
Address: TypeAlias = tuple[str, int]
Result = TypeVar("Result")

logger = logging.getLogger(__name__.partition(".")[0])

DEFAULT_TIMEOUT = 5.0  # seconds

_CLASSES = {"redis": "Connection", "rediss": "SSLConnection", "unix": "UnixDomainSocketConnection"}
_OF_SENTINELS = ("sentinels", "master_name", "sentinel_kwargs")
_PAIR = 2
_URL = '"redis://localhost:6379/0"'
_UNSET = "If it comes from an environment variable, that is not set"
_SOCKET = 'write a UNIX socket with three slashes, as in "unix:///run/redis.sock?db=0"'
_SENTINELS = '"sentinels": [("sentinel1", 26379)], "master_name": "mymaster"'
_ESCAPE = "Percent-encode a password: urllib.parse.quote(password, safe='')"
_PORT = (
    "the host or the port of the URL is not valid: a port is a number from 1 to 65535, an IPv6 "
    f'address has brackets ("redis://[::1]:6379/0"), several servers are several entries. {_ESCAPE}'
)
_PATH = f"the path must be a database's number, as in {_URL}. {_ESCAPE}"
_SCHEMES = (
    "an address must begin with redis://, rediss:// (TLS) or unix:///: write it before your host, "
    f'as in "redis://HOST:6379"; for Sentinel write a dict, {{{_SENTINELS}}}'
)
# What is no URL, or would be misread by redis-py, and what to write.
_WRONG_URLS = (
    ("^['\" ]|['\" ]$", "the URL has quotes or spaces around it: write it without them"),
    ("^(?!(redis|rediss|unix)://)", _SCHEMES),
    (r"#|\?.*@", f"the URL has '#', or '@' after '?'. {_ESCAPE}"),
    (r"^unix://(?!([^/@]*@)?/[^/?])", _SOCKET),
    (r"^rediss?://[^/?]*:0*(/|\?|$)", _PORT),  # redis-py would take the default port
    (r"^rediss?://[^/?]*/(?!\d*/?(\?|$))", _PATH),
)
# The ways to say where the server is.
_WAYS = (("cluster",), _OF_SENTINELS, ("address",), ("path",), ("host", "port"))


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
        sentinels: The settings of the Sentinels to ask for the master; empty without Sentinel.
        master_name: The master's name in the configuration of the Sentinels.
        is_sentinel: Whether it is a Sentinel.
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
    sentinels: tuple[Host, ...] = ()
    master_name: str | None = None
    is_sentinel: bool = False
    nodes: tuple[Address, ...] = ()
    in_cluster: bool = False
    timeout: float = DEFAULT_TIMEOUT
    connect_timeout: float = DEFAULT_TIMEOUT
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def at(self, address: Address) -> Host:
        """Return the settings for one node of the Cluster, or one Sentinel."""
        arguments = {**self.arguments, "host": address[0], "port": address[1]}
        return replace(self, nodes=(), in_cluster=not self.is_sentinel, arguments=arguments)

    def __str__(self) -> str:
        """Return the address for logs and errors, never with a password."""
        if self.sentinels:
            sentinels = ", ".join(_shown(one.arguments) for one in self.sentinels)
            return f"master {self.master_name!r} of the Sentinels {sentinels}"
        if self.nodes:
            nodes = (_shown({"host": host, "port": port}) for host, port in self.nodes)
            return f"Redis Cluster of {', '.join(nodes)}"
        if "path" in self.arguments:
            return f"{self.url}{self.arguments['path']}?db={self.arguments['db']}"
        address = _shown(self.arguments)
        if self.is_sentinel:
            return f"Sentinel {address}"
        return f"{self.url}{address}/{self.arguments['db']}"


def parse_hosts(hosts: object) -> tuple[Host, ...]:
    """Return the hosts in the option `hosts`; localhost if it is None or empty.

    Raises:
        ValueError: `hosts` or one of its entries is invalid; the text says what to write.
    """
    entries = _as_list(() if hosts is None else hosts) or ["redis://localhost:6379"]
    return tuple(_named(f"hosts[{n}]", _parse, entry) for n, entry in enumerate(entries))


def _as_list(hosts: object) -> list[Any]:
    if isinstance(hosts, AbstractSet) and len(hosts) > 1:
        kind = "a set: its order, which all processes must share, decides where each name is"
    elif isinstance(hosts, Iterable) and not isinstance(hosts, str | bytes | Mapping):
        entries = list(hosts)
        if not _is_pair(entries):
            return entries
        kind = "one host"
    else:
        kind = f"one host of type {type(hosts).__name__}"
    # Not shown, as a URL may hold a password.
    raise ValueError(f'hosts must be a list, such as [{_URL}] or [("localhost", 6379)], not {kind}')


def _parse(given: object) -> Host:
    entry = _as_dict(given)
    absent = {name for name in _OF_SENTINELS if entry.get(name) is None}
    options = {name: entry[name] for name in entry if name not in absent}
    ways = [way for way in _WAYS if not options.keys().isdisjoint(way)]
    if len(ways) > 1:
        one, other = (next(name for name in way if name in options) for way in ways[:2])
        raise ValueError(f"write either {one!r} or {other!r}: each says where the server is")
    several = _pop_several(options)
    scheme = _pop_scheme(options)
    for name in ("timeout", "connect_timeout"):
        if (seconds := options.pop(f"socket_{name}", None)) is not None:
            several[name] = float(arguments_of.checked(f"socket_{name}", seconds))
    host = Host(
        # A class of the user's own needs "redis://": redis-py overrides it for the other two.
        url="redis://" if "connection_class" in options else f"{scheme}://",
        arguments=arguments_of.connection_arguments(options, getattr(connection, _CLASSES[scheme])),
        entry=entry,
        **several,
    )
    ConnectionPool.from_url(host.url, **host.arguments).make_connection()
    return host


def _as_dict(entry: object) -> dict[str, Any]:
    """Return an entry of any form as a dict entry."""
    if isinstance(entry, str):
        return {"address": entry}
    if isinstance(entry, Mapping):
        return dict(entry)
    kind = f"of type {type(entry).__name__}" + f". {_UNSET}" * (entry is None)
    if isinstance(entry, tuple | list):
        kind = f"a {type(entry).__name__} of {len(entry)}: remove brackets around it"
        if len(entry) == _PAIR + 1:
            # Not shown, as it may be a password.
            logger.warning(
                "Ignored what stands behind host and port in hosts, as channels_redis 4 does: for "
                'another database write {"host": "localhost", "port": 6379, "db": 1}'
            )
        if len(entry) in {_PAIR, _PAIR + 1}:
            return dict(zip(("host", "port"), _pair(entry[:_PAIR]), strict=True))
    raise ValueError(
        f'a host must be a URL such as {_URL}, a pair such as ("localhost", 6379), or a dict such '
        f'as {{"host": "localhost", "port": 6379}}, not {kind}'
    )


def _pop_several(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options for Sentinel or a Cluster and return them as fields of a Host."""
    if "cluster" in options:
        if str(options.get("db") or 0) != "0":
            raise ValueError("a Redis Cluster has only database 0: leave out 'db'")
        return {"nodes": _addresses(options, "cluster", '"cluster": [("node1", 7000)]')}
    if options.keys().isdisjoint(_OF_SENTINELS):
        return {}
    addresses = _addresses(options, "sentinels", _SENTINELS)
    name, arguments = options.pop("master_name", None), options.pop("sentinel_kwargs", None) or {}
    if not name or not isinstance(name, str):
        raise ValueError(f"Sentinels need the name of the master: write {_SENTINELS}")
    if not isinstance(arguments, Mapping):
        raise ValueError('sentinel_kwargs must be a dict, such as {"password": "..."}')
    sentinel = _named("sentinel_kwargs", _parse, {**arguments, "protocol": 2})
    sentinels = tuple(replace(sentinel, is_sentinel=True).at(address) for address in addresses)
    return {"sentinels": sentinels, "master_name": name}


def _pop_scheme(options: dict[str, Any]) -> str:
    """Replace `address` and `ssl` by plain connection arguments and return the URL's scheme."""
    scheme = "redis"
    if "address" in options:
        address = options.pop("address")
        scheme = _scheme(address)
        # The URL takes precedence, as in redis-py.
        parsed = dict(connection.parse_url(address))
        parsed.pop("connection_class", None)
        options.update(parsed)
    tls = arguments_of.checked("ssl", options.pop("ssl", False))
    if "path" in options and tls:
        raise ValueError("a UNIX socket has no TLS: leave out 'ssl'")
    return "unix" if "path" in options else "rediss" if tls else scheme


def _scheme(address: object) -> str:
    """Return the scheme of a URL; raise ValueError, which does not show the URL, if it is wrong."""
    if not isinstance(address, str) or not address:
        shown = f"of type {type(address).__name__}" if address else repr(address)
        raise ValueError(f"an address must be a URL such as {_URL}, not {shown}. {_UNSET}")
    for pattern, text in _WRONG_URLS:
        if re.search(pattern, address, re.IGNORECASE):
            raise ValueError(text)
    try:
        urlsplit(address).port  # noqa: B018 - reading it raises
    except ValueError:
        raise ValueError(_PORT) from None
    return address.partition(":")[0].lower()


def _named(name: str, parse: Callable[..., Result], *values: object) -> Result:
    """Return what a function makes of values; raise ValueError with a name in front."""
    try:
        return parse(*values)
    except Exception as error:  # noqa: BLE001 - a user's connection_class may raise anything
        # Without the cause: a traceback that shows values could show a password.
        raise ValueError(f"{name}: {error}") from None


def _addresses(options: dict[str, Any], name: str, form: str) -> tuple[Address, ...]:
    values = options.pop(name, None)
    if not isinstance(values, tuple | list) or not values or _is_pair(values):
        raise ValueError(f"write hosts and ports as a list: {form}")
    return tuple(_named(f"{name}[{n}]", _pair, value) for n, value in enumerate(values))


def _pair(value: object) -> Address:
    if not isinstance(value, tuple | list) or len(value) != _PAIR:
        # A str is not shown, as a URL may hold a password.
        raise ValueError('write a host and a port as a pair, such as ("localhost", 6379)')
    return arguments_of.checked_host(value[0]), arguments_of.checked("port", value[1])


def _shown(arguments: Mapping[str, Any]) -> str:
    host, port = arguments["host"], arguments["port"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_pair(value: Any) -> bool:
    """Return whether a list of hosts is a host and a port."""
    is_two = isinstance(value, tuple | list) and len(value) == _PAIR
    return is_two and isinstance(value[0], str) and str(value[1]).isdecimal()
