"""What a URL of a server means."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import parse_url

_ESCAPE = (
    "If the password holds characters such as '/', '#', '?' or '@', percent-encode them "
    "(urllib.parse.quote(password, safe=''))"
)


def parse_address(address: object) -> tuple[str, dict[str, Any]]:
    """Return the scheme of a URL and the connection arguments in it.

    Raises:
        ValueError: It is no URL of a Redis server. The text never shows it, as it may hold a
            password.
    """
    if not isinstance(address, str):
        raise ValueError(
            f'an address must be a URL such as "redis://localhost:6379/0", not {type(address)}'
        )
    scheme, separator, _ = address.partition("://")
    scheme = scheme.lower()
    # Without these marks, what stands before "://" is no scheme, and may be part of a password.
    if not separator or not scheme.replace("+", "").isalnum():
        raise ValueError(
            'the address is no URL: write "redis://" before it, as in "redis://localhost:6379/0"'
        )
    if scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(
            f"the scheme {scheme}:// is unknown: write redis://, rediss:// (TLS) or unix://. "
            'For Sentinel write a dict: {"sentinels": [("sentinel1", 26379)], '
            '"master_name": "mymaster"}'
        )
    _check(scheme, address)
    arguments = dict(parse_url(address))
    arguments.pop("connection_class", None)
    return scheme, arguments


def _check(scheme: str, address: str) -> None:
    """Raise ValueError for what redis-py would misread or ignore."""
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        # The cause is left out: its text may hold the password.
        raise ValueError(f"the host or the port of the URL is not valid. {_ESCAPE}") from None
    if port == 0:
        # redis-py would take it for none given, and connect to its default.
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
