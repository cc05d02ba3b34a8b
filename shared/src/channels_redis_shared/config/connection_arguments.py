"""Check the connection arguments of a host and convert them for redis-py."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.sentinel import SentinelManagedConnection

from .options import did_you_mean, keyword_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Accepted and ignored: redis-py must neither repeat commands nor decode replies, and the layers
# check and limit their connections themselves.
_IGNORED = re.compile(
    "auto_close_connection_pool|check_connection|decode_responses|health_check_interval"
    "|max_connections|retry(_on_.*)?"
)
HIGHEST_PORT = 65535
# Those that are not redis-py's, and the usual others.
_USUAL = (
    *("address", "cluster", "db", "host", "master_name", "password", "path", "port"),
    *("sentinel_kwargs", "sentinels", "socket_timeout", "ssl", "username"),
)
# A name, or an IPv4 address. Digits alone are a port without its host.
_HOST_NAME = re.compile(r"(?!\d+$)[\w.-]+")
_HOST = (
    'a host must be a name or an address alone, such as "localhost" or "::1": write a port, a '
    '"username" and a "password" next to it, a URL as "address", a socket as "path", and each '
    "server as an entry of its own"
)


def _is(value: Any, *kinds: type) -> bool:
    """Return whether a value is of some classes; True is no number."""
    return isinstance(value, kinds) and not isinstance(value, bool)


_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_SECRET = ("password", "username")  # not shown
_REQUIREMENTS = (None, "none", "optional", "required")
_SOCKET = 'the file of a UNIX socket, such as "/run/redis.sock"'
_SECONDS = "a positive number of seconds"
# What the value of an argument must be. redis-py itself checks the others.
_MUST_BE: dict[str, tuple[Callable[[Any], object], str]] = {
    "client_name": (lambda one: re.fullmatch("[!-~]*", str(one or "")), "ASCII without spaces"),
    "db": (lambda one: _is(one, int) and one >= 0, "a whole number"),
    "path": (lambda one: _is(one, str, os.PathLike) and os.fspath(one), _SOCKET),
    "port": (lambda one: _is(one, int) and 1 <= one <= HIGHEST_PORT, "a number from 1 to 65535"),
    "protocol": (lambda one: _is(one, int) and one in {2, 3}, "2 or 3"),
    "ssl": (lambda one: isinstance(one, bool), 'True or False (in a URL, "rediss://" is TLS)'),
    "ssl_cert_reqs": (lambda one: one in _REQUIREMENTS, '"required", "optional" or "none"'),
    "ssl_check_hostname": (lambda one: isinstance(one, bool | None), "True or False"),
    "ssl_ca_path": (lambda one: one is None or Path(str(one)).is_dir(), "a directory that exists"),
    # redis-py takes numbers as well.
    **dict.fromkeys(_SECRET, (lambda one: not one or _is(one, str, bytes, int, float), "a str")),
    **dict.fromkeys(_TIMEOUTS, (lambda one: _is(one, int, float) and 0 < one < math.inf, _SECONDS)),
}


def checked(name: str, value: Any) -> Any:
    """Return the value of an argument, digits as a number; raise ValueError if it is wrong."""
    is_valid, must_be = _MUST_BE[name]
    if isinstance(value, str) and value.isdecimal() and name in {"db", "port", "protocol"}:
        value = int(value)
    if not is_valid(value):
        shown = f"of type {type(value).__name__}" if name in _SECRET else repr(value)
        raise ValueError(f"{name} must be {must_be}, not {shown}")
    return os.fspath(value) if name == "path" else value


def _refuse_unknown(arguments: Mapping[str, Any], cls: type) -> None:
    """Raise ValueError for an argument that a class of connections does not take."""
    known = set(keywords(cls))
    for name in arguments:
        if name in known:
            continue
        if name in keywords(SSLConnection):
            raise ValueError(f'{name} needs TLS: write rediss:// in a URL, or "ssl": True')
        if name in {"connection_kwargs", "connection_pool_kwargs", "options"}:
            hint = ": write what is in it directly among the other arguments"
        else:
            usual = f"; the usual ones are {', '.join(_USUAL)}"
            hint = did_you_mean(str(name).lower(), {*known, *_USUAL}) or usual
        raise ValueError(f"the connection argument {name!r} is unknown{hint}")


def connection_arguments(options: Mapping[str, Any], default: type) -> dict[str, Any]:
    """Return checked and complete arguments for redis-py's connection class.

    Args:
        options: The user's connection arguments, with those from a URL.
        default: The connection class unless the options name one.

    Raises:
        ValueError: An argument is unknown or invalid; the text says what to write.
    """
    arguments = {name: options[name] for name in options if not _IGNORED.fullmatch(str(name))}
    cls = arguments.pop("connection_class", default)
    is_class = isinstance(cls, type) and issubclass(cls, AbstractConnection)
    if not is_class or issubclass(cls, SentinelManagedConnection):
        raise ValueError(
            "connection_class must be a subclass of redis.asyncio.connection.AbstractConnection, "
            'and none for Sentinels, which the layer itself asks: for TLS, write "ssl": True'
        )
    _refuse_unknown(arguments, cls)
    # Servers and proxies without the command HELLO only speak RESP 2.
    arguments = {"db": 0, **arguments, "protocol": arguments.get("protocol") or 2}
    if "path" not in arguments:
        arguments = {"host": "localhost", "port": 6379, **arguments}
        checked_host(arguments["host"])
    if isinstance(mode := arguments.get("ssl_cert_reqs"), ssl.VerifyMode):
        # redis-py 5 accepts only the names.
        arguments["ssl_cert_reqs"] = mode.name.removeprefix("CERT_").lower()
    for name in _MUST_BE.keys() & arguments.keys():
        arguments[name] = checked(name, arguments[name])
    # A server whose default user has no password accepts any, but only if the user is named.
    # redis-py itself names it with protocol 3. Redis 5, without users, gets a second AUTH.
    if arguments.get("password") and not arguments.get("username"):
        arguments["username"] = "default"
    if "ssl_check_hostname" in keywords(cls):
        # Explicit, as redis-py 5 does not check names by default, and raises if it has to check the
        # name but not the certificate.
        is_checked = arguments.get("ssl_cert_reqs", "required") not in {None, "none"}
        is_off = arguments.get("ssl_check_hostname") is False
        arguments["ssl_check_hostname"] = is_checked and not is_off
        _load_certificates(arguments)
    return {**arguments, "connection_class": cls} if "connection_class" in options else arguments


def checked_host(value: object) -> str:
    """Return `value` if it is a host name or address; raise ValueError otherwise."""
    if isinstance(value, str):
        if _HOST_NAME.fullmatch(value):
            return value
        with suppress(ValueError):
            ipaddress.IPv6Address(value)  # perhaps with a zone, as in fe80::1%eth0
            return value
    # A longer value may hold a password.
    raise ValueError(_HOST + f", not {value!r}" * (not value or isinstance(value, int)))


def keywords(cls: type) -> Iterable[str]:
    """Yield the keyword arguments of `cls` and of its bases."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            yield from keyword_names(vars(base)["__init__"])[1:]  # without `self`


def _load_certificates(arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for a file that holds no certificate or no key.

    When connecting, the error would not name the file, and would look like an outage.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = arguments.get("ssl_ca_certs")
    certificate: Any = arguments.get("ssl_certfile")
    key = arguments.get("ssl_keyfile")
    try:
        if authorities is not None:
            context.load_verify_locations(authorities)
        if certificate is not None or key is not None:
            # Without a password, OpenSSL would ask for it in the terminal.
            context.load_cert_chain(certificate, key, arguments.get("ssl_password") or "")
    except (OSError, TypeError) as error:  # ssl.SSLError is an OSError
        raise ValueError(
            "ssl_ca_certs must be a file of certificates in PEM format, and ssl_certfile and "
            f"ssl_keyfile files of one and its key, with ssl_password if that has one ({error})"
        ) from None
