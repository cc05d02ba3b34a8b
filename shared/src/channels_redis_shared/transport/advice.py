"""Add to an error which host it is of, and what to write instead: one table for all that fails."""

from __future__ import annotations

import re
from ssl import SSLError
from typing import TYPE_CHECKING

from redis import exceptions
from redis.exceptions import AskError, InvalidResponse, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from ..config.hosts import Host

SENTINEL_FORM = 'write {"sentinels": [("sentinel1", 26379)], "master_name": "mymaster"} in hosts'
_TLS = 'write rediss:// instead of redis:// in hosts, or "ssl": True'
_NO_TLS = 'write redis:// instead of rediss:// in hosts, or leave "ssl" out'

_WRITE_HOST = 'write the host and port of the Redis server in "hosts"'
_CLIENT = (
    'write a client\'s certificate of the server\'s authority as "ssl_certfile" and "ssl_keyfile"'
)
_AUTHORITY = 'write the file of the authority that signed the certificate as "ssl_ca_certs"'
_NAME = 'write the name in the certificate as "host", or "ssl_check_hostname": False'
_CLOSED = "the server may have reached its maxclients, or be in protected mode"
# By kind of host. A server's TLS alert is mostly lost, as it resets the connection behind it.
_CLOSED_BY = {
    "redis://": f"; if it speaks TLS, {_TLS}",
    "rediss://": f"; if it requires one, {_CLIENT}",
}
_DATABASE = 'write the number of a database that the server has as "db", such as 0'
_RIGHTS = "the command doctor lists all that is missing"
_SHARDED = "for sharded_pubsub use Redis 7.0 or newer, or Valkey"
_SERVER = "it is a Redis server, not a Sentinel: write a Sentinel's port, such as 26379"

# The class of an error, a pattern in its text, and what to write. The first row that fits counts.
_ADVICE: tuple[tuple[type[Exception], str, str], ...] = (
    (SSLError, "has expired", "renew the server's certificate"),
    (SSLError, "mismatch", _NAME),
    (SSLError, "self.signed|issuer certificate|first certificate", _AUTHORITY),
    (SSLError, "CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|UNKNOWN_CA", _CLIENT),
    (SSLError, "WRONG_VERSION_NUMBER", f"the port does not speak TLS: {_NO_TLS}"),
    # What servers of other kinds begin their answer with, as redis-py shows it.
    (InvalidResponse, r"""['"][<H]['"]""", f"an HTTP server answers there: {_WRITE_HOST}"),
    (InvalidResponse, r'"\\x15"', f"the port speaks TLS: {_TLS}"),
    (InvalidResponse, "", f"no Redis server answers there: {_WRITE_HOST}"),
    (ReadOnlyError, "", f"it is a replica: write the master in hosts, or {SENTINEL_FORM}"),
    # Of Redis 6, about a command in a script.
    (ResponseError, "can't run this command", _RIGHTS),
    (ResponseError, "DB index|SELECT is not allowed", _DATABASE),
    (ResponseError, "(?i)unknown command.*sentinel", _SERVER),
    (ResponseError, "(?i)unknown command.*select", f"it may be a Sentinel: {SENTINEL_FORM}"),
    (ResponseError, "(?i)unknown command.*s(pub|sub|unsub)", _SHARDED),
    (ResponseError, "(?i)unknown command", "use Redis 5.0 or newer, or Valkey"),
)


def explain(error: Exception, host: Host) -> Exception:
    """Return the error with the host's name and advice at the end of its text.

    Its class and the beginning of its text stay, as users may match them. But a redirect to another
    node of a Cluster, which `hosts` does not name as such, becomes an error that lasts.

    Args:
        error: An error that a server replied, or of a connection to it.
        host: The host.
    """
    elsewhere = isinstance(error, AskError) or "hash to the same slot" in str(error)
    if elsewhere and not host.in_cluster:
        name, port = host.arguments.get("host"), host.arguments.get("port")
        return ResponseError(
            f"{host} is a node of a Redis Cluster and has only a part of the keys: "
            f'write {{"cluster": [("{name}", {port})]}} in hosts'
        )
    advice = _advice_on(error, host)
    # A Sentinel's has its own.
    is_explained = any(str(one) in str(error) for one in (host, *host.sentinels))
    if advice is not None and not is_explained:
        error.args = (f"{str(error).rstrip()} ({host}: {advice})", *error.args[1:])
    return error


def explain_tls(refusal: SSLError, where: str) -> RedisConnectionError:
    """Return the error of a connection whose TLS handshake failed."""
    advice = _look_up(refusal) or "compare the certificates and versions that both sides take"
    return RedisConnectionError(f"TLS with {where} failed: {refusal}; {advice}")


def _advice_on(error: Exception, host: Host) -> str | None:
    arguments = host.arguments
    if isinstance(error, exceptions.AuthenticationError):
        place = "sentinel_kwargs" if host.is_sentinel else "hosts"
        if arguments.get("password") or arguments.get("credential_provider"):
            return f'correct "username" and "password" in {place}'
        return f'write "password" in {place}, and "username" unless the user is the default one'
    if isinstance(error, exceptions.NoPermissionError):
        rule = missing_rule(str(error), "asgi")
        rule += ", with the layer's prefix for asgi" * rule.endswith("*")
        user = arguments.get("username") or "default"
        return f"ACL SETUSER {user} {rule}; {_RIGHTS}"
    # Not a subclass: those say more. redis-py names the address where it could not connect.
    opened = " connecting to " not in str(error)
    if type(error) is RedisConnectionError and (opened or host.sentinels):
        cause = f"; {_CLOSED}{_CLOSED_BY.get(host.url, '')}" if opened else ""
        return f"no connection could be opened{cause}"
    if isinstance(error, ReadOnlyError) and host.sentinels:
        return None
    return _look_up(error)


def advice_on_silence(host: Host) -> str:
    """Return the end of the text of an error for a server that accepts no connection in time.

    A server that does not speak TLS waits for more than the beginning of a handshake.
    """
    has_tls = any(one.url == "rediss://" for one in (host, *host.sentinels))
    return f"; does it speak TLS? If not, {_NO_TLS}" if has_tls else ""


def _look_up(error: Exception) -> str | None:
    rows = (row for row in _ADVICE if isinstance(error, row[0]) and re.search(row[1], str(error)))
    return next((advice for _, _, advice in rows), None)


def missing_rule(text: str, prefix: str) -> str:
    """Return the ACL rule that allows what a server refused with this text."""
    if command := re.search(r"'([\w|]+)' command", text):
        return f"+{command[1]}"
    denied = re.search(r" access .*\b(key|channel)s?\b", text)
    return f"{'&' if denied and denied[1] == 'channel' else '~'}{prefix}*"
