"""Check the connection arguments of a host and convert them for redis-py."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.sentinel import SentinelManagedConnection

from .options import did_you_mean, keyword_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Accepted and ignored: redis-py must neither repeat commands nor decode replies, and the layers
# check and limit their connections themselves.
_IGNORED = (
    "auto_close_connection_pool",
    "check_connection",
    "decode_responses",
    "health_check_interval",
    "max_connections",
    "retry",
    "retry_on_error",
    "retry_on_timeout",
)
_NOT_IN_HOSTS = frozenset(" '\"${}<>%")
# redis-py 5 accepts only the names.
_CERT_REQS = {
    ssl.CERT_NONE: "none",
    ssl.CERT_OPTIONAL: "optional",
    ssl.CERT_REQUIRED: "required",
}
HIGHEST_PORT = 65535
# Names that other programs have for an argument.
_OTHER_NAMES = {
    "addr": "host",
    "connect_timeout": "socket_connect_timeout",
    "database": "db",
    "location": "address",
    "master": "master_name",
    "nodes": "cluster",
    "sentinel": "sentinels",
    "sentinel_password": "sentinel_kwargs",
    "sentinel_username": "sentinel_kwargs",
    "server": "host",
    "service_name": "master_name",
    "startup_nodes": "cluster",
    "timeout": "socket_timeout",
    "tls": "ssl",
    "unix_socket_path": "path",
    "uri": "address",
    "url": "address",
    "user": "username",
}
# The arguments of an entry that redis-py's connections do not have.
_ENTRY_ARGUMENTS = (
    "address",
    "cluster",
    "master_name",
    "path",
    "sentinel_kwargs",
    "sentinels",
    "ssl",
)
# What other programs have such arguments in.
_CONTAINERS = ("connection_kwargs", "connection_pool_kwargs", "options")


def refuse_unknown_arguments(arguments: Mapping[str, Any], cls: type, what: str) -> None:
    """Raise ValueError for an argument that `cls` does not take.

    Args:
        arguments: The arguments.
        cls: A class of connections, or redis-py's client.
        what: Names the argument's kind in the error.
    """
    known = sorted(keywords(cls))
    for name in arguments:
        if name in known:
            continue
        if name in keywords(SSLConnection):
            raise ValueError(
                f'{name} needs TLS: write rediss:// in the URL, or "ssl": True in the dict'
            )
        lower = str(name).lower()
        if lower in _CONTAINERS:
            hint = ": write what is in it beside the other arguments"
        else:
            hint = did_you_mean(_OTHER_NAMES.get(lower, lower), [*known, *_ENTRY_ARGUMENTS])
        raise ValueError(f"{what} {name!r} is unknown{hint}")


def connection_arguments(options: Mapping[str, Any], default: type) -> dict[str, Any]:
    """Return checked and complete arguments for redis-py's connection class.

    Args:
        options: The user's connection arguments, with those from a URL.
        default: The connection class unless the options name one.

    Raises:
        ValueError: An argument is unknown or invalid; the text says what to write.
    """
    arguments = {name: value for name, value in options.items() if name not in _IGNORED}
    cls = arguments.get("connection_class", default)
    if not isinstance(cls, type) or not issubclass(cls, AbstractConnection):
        raise ValueError(
            "connection_class must be a subclass of redis.asyncio.connection.AbstractConnection"
        )
    if issubclass(cls, SentinelManagedConnection):
        raise ValueError(
            "leave out connection_class: the layer itself asks the Sentinels. For TLS, write "
            '"ssl": True'
        )
    named = {name: value for name, value in arguments.items() if name != "connection_class"}
    refuse_unknown_arguments(named, cls, "the connection argument")
    arguments["db"] = _whole_number("db", arguments.get("db"), default=0)
    # Servers and proxies without the command HELLO only speak RESP 2.
    arguments["protocol"] = _whole_number("protocol", arguments.get("protocol"), default=2)
    if arguments["protocol"] not in {2, 3}:
        raise ValueError(f"protocol must be 2 or 3, not {arguments['protocol']}")
    if not re.fullmatch("[!-~]*", str(arguments.get("client_name") or "")):
        raise ValueError("client_name cannot contain spaces, or other characters than ASCII")
    for name in ("username", "password"):
        value = arguments.get(name)
        # redis-py takes numbers as well. Not shown, as it may be part of a password.
        if isinstance(value, bool) or not isinstance(value, str | bytes | int | float | None):
            raise ValueError(f"{name} must be a str, not of type {type(value).__name__}")
    name_default_user(arguments)
    if "path" in arguments:
        arguments["path"] = _socket_path(arguments["path"])
    else:
        arguments["host"] = checked_host(arguments.get("host", "localhost"))
        arguments["port"] = checked_port(arguments.get("port", 6379))
    if "ssl_check_hostname" in keywords(cls):
        complete_tls(arguments)
    return arguments


def name_default_user(arguments: dict[str, Any]) -> None:
    """Name the user `default` beside a password without a username.

    A server whose default user has no password accepts any, but only if the user is named. redis-py
    itself names it with protocol 3. Redis 5, which has no users, gets a second AUTH without it.
    """
    if arguments.get("password") and not arguments.get("username"):
        arguments["username"] = "default"


def checked_host(value: object) -> str:
    """Return `value` if it is a host name or address; raise ValueError otherwise."""
    if not isinstance(value, str) or not value:
        raise ValueError(f'a host must be a name or an address such as "localhost", not {value!r}')
    if "://" in value:
        # Not shown, as a URL may hold a password.
        raise ValueError('a URL is not a host: write it as "address", or as an entry of its own')
    if "@" in value:
        raise ValueError(
            'a host cannot contain "@": write "username" and "password" in a dict, beside "host", '
            'or all of it as a URL, such as "redis://username:password@localhost:6379/0"'
        )
    if _is_ipv6(value):  # perhaps with a zone, as in fe80::1%eth0
        return value
    if "/" in value:
        raise ValueError(
            'a host cannot contain "/": write a UNIX socket as {"path": "/run/redis.sock"}, and a '
            'database as "db"'
        )
    if "," in value:
        raise ValueError("a host cannot contain a comma: write each server as an entry of its own")
    if "[" in value or "]" in value:
        raise ValueError('write an IPv6 address without brackets here, such as ("::1", 6379)')
    if ":" in value:
        raise ValueError(
            'a host cannot contain ":": write the port beside it, as in ("localhost", 6379)'
        )
    if not _NOT_IN_HOSTS.isdisjoint(value) or not value.isprintable():
        raise ValueError(
            "a host cannot contain spaces, quotes, '$', '{' or '<': write its name alone. If the "
            "settings or an env file should fill in a part of it, that did not happen"
        )
    return value


def checked_port(value: object) -> int:
    """Return `value` as a port number; raise ValueError if it is not one."""
    port = _whole_number("port", value)
    if not 1 <= port <= HIGHEST_PORT:
        raise ValueError(f"port must be a number from 1 to {HIGHEST_PORT}, not {port}")
    return port


def checked_seconds(name: str, value: object, default: float) -> float:
    """Return `value` as a number of seconds; None stands for `default`."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number of seconds, not {value!r}")
    return float(value)


def keywords(cls: type) -> Iterable[str]:
    """Yield the keyword arguments of `cls` and of its bases."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            yield from keyword_names(vars(base)["__init__"])[1:]  # without `self`


def _whole_number(name: str, value: object, default: int | None = None) -> int:
    if value is None and default is not None:
        return default
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return value


def _is_ipv6(value: str) -> bool:
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


def _socket_path(value: object) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(
            f'path must be the file of a UNIX socket, such as "/run/redis.sock", not {value!r}'
        )
    return os.fspath(value)


def complete_tls(arguments: dict[str, Any]) -> None:
    """Check the arguments for TLS and complete them in place, with the check of the host's name.

    Raises:
        ValueError: An argument is invalid, or names a file that does not exist.
    """
    requirement = arguments.get("ssl_cert_reqs", "required")
    if isinstance(requirement, ssl.VerifyMode):
        requirement = arguments["ssl_cert_reqs"] = _CERT_REQS[requirement]
    elif requirement not in {None, "none", "optional", "required"}:
        raise ValueError(
            f'ssl_cert_reqs must be "required", "optional" or "none", not {requirement!r}'
        )
    check = arguments.get("ssl_check_hostname")
    if not isinstance(check, bool | None):
        raise ValueError(f"ssl_check_hostname must be True or False, not {check!r}")
    # Explicit, as redis-py 5 does not check names by default, and raises if it has to check the
    # name but not the certificate.
    arguments["ssl_check_hostname"] = check is not False and requirement not in {None, "none"}
    # When connecting, the error would not name the file, and would look like an outage.
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_ca_path"):
        file = arguments.get(name)
        if not isinstance(file, str | os.PathLike | None):
            raise ValueError(f'{name} must be a path, such as "/etc/redis/ca.pem", not {file!r}')
        if file is not None and not Path(file).exists():
            raise ValueError(f"{name}: no such file or directory: {os.fspath(file)!r}")
    _load_certificates(arguments)


def _load_certificates(arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for a file that holds no certificate or no key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = arguments.get("ssl_ca_certs")
    if authorities is not None:
        try:
            context.load_verify_locations(authorities)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(
                f"ssl_ca_certs: {os.fspath(authorities)!r} is no file of certificates "
                f"in PEM format ({error})"
            ) from None
    certificate, key = arguments.get("ssl_certfile"), arguments.get("ssl_keyfile")
    if key is not None and certificate is None:
        raise ValueError('ssl_keyfile needs the certificate of that key: write "ssl_certfile"')
    if certificate is not None:
        try:
            # Without a password, OpenSSL would ask for it in the terminal.
            context.load_cert_chain(certificate, key, arguments.get("ssl_password") or "")
        except OSError as error:
            raise ValueError(
                "ssl_certfile and ssl_keyfile must be a certificate in PEM format and its key, "
                f"with ssl_password if the key has one ({error})"
            ) from None
