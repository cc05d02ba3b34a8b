"""Add to the errors of a server which host it is, and what to write in `hosts` instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from .errors import misplaced_slot

if TYPE_CHECKING:
    import ssl

    from ..config.hosts import Host

SENTINEL_FORM = 'write {"sentinels": [("sentinel1", 26379)], "master_name": "mymaster"} in hosts'
WRITE_TLS = 'the port speaks TLS: write rediss:// instead of redis:// in hosts, or "ssl": True'
NO_TLS = 'write redis:// instead of rediss:// in hosts, or leave "ssl" out'
WRITE_DATABASE = 'write the number of a database that the server has as "db", such as 0'
WRITE_REDIS = 'an HTTP server answers there: write the host and port of the Redis server in "hosts"'

_OTHER = 'no Redis server answers there: write the host and port of the Redis server in "hosts"'
# What servers of other kinds begin their answer with, as redis-py shows it.
_FIRST_BYTES = {"'<'": WRITE_REDIS, '"<"': WRITE_REDIS, '"H"': WRITE_REDIS, '"\\x15"': WRITE_TLS}
# OpenSSL's codes for what is wrong with a certificate.
_CERTIFICATE_ADVICE = {
    10: "renew the server's certificate",
    **dict.fromkeys(
        (18, 19, 20, 21),
        'write the file of the authority that signed the certificate as "ssl_ca_certs"',
    ),
    **dict.fromkeys(
        (62, 64),
        'write the name in the certificate as "host", or "ssl_check_hostname": False',
    ),
}
# Parts of OpenSSL's reasons.
_TLS_ADVICE = {
    "CERTIFICATE_REQUIRED": 'write the client\'s certificate as "ssl_certfile" and "ssl_keyfile"',
    "HANDSHAKE_FAILURE": 'write the client\'s certificate as "ssl_certfile" and "ssl_keyfile"',
    "UNKNOWN_CA": 'the server does not know the authority of "ssl_certfile"',
    "WRONG_VERSION_NUMBER": f"the port does not speak TLS: {NO_TLS}",
}


def explain(error: Exception, host: Host, sentinel: str | None = None) -> Exception:
    """Return the error with the host's name and advice at the end of its text.

    Its class and the beginning of its text stay, as users may match them. But a redirect to another
    node of a Cluster, which `hosts` does not name as such, becomes an error that lasts.

    Args:
        error: An error that a server replied, or of a connection to it.
        host: The host.
        sentinel: The address of the Sentinel, if the error is one's.
    """
    elsewhere = misplaced_slot(error) is not None or "hash to the same slot" in str(error)
    if elsewhere and not host.in_cluster:
        name, port = host.arguments.get("host"), host.arguments.get("port")
        return ResponseError(
            f"{host} is a node of a Redis Cluster and has only a part of the keys: "
            f'write {{"cluster": [("{name}", {port})]}} in hosts'
        )
    where = str(host) if sentinel is None else f"Sentinel {sentinel}"
    advice = _advice(error, host, sentinel)
    if advice is not None and where not in str(error):
        error.args = (f"{str(error).rstrip()} ({where}: {advice})", *error.args[1:])
    return error


def explain_tls(refusal: ssl.SSLError, where: str) -> RedisConnectionError:
    """Return the error of a connection whose TLS handshake failed."""
    advice = tls_advice(refusal)
    return RedisConnectionError(
        f"TLS with {where} failed: {refusal}" + ("" if advice is None else f"; {advice}")
    )


def tls_advice(refusal: ssl.SSLError) -> str | None:
    """Return what to change if a TLS handshake failed for this reason; None if it is unknown."""
    advice = _CERTIFICATE_ADVICE.get(getattr(refusal, "verify_code", 0))
    for reason, text in _TLS_ADVICE.items():
        if reason in (refusal.reason or ""):
            advice = text
    return advice


def _advice(error: Exception, host: Host, sentinel: str | None) -> str | None:
    text = str(error)
    if isinstance(error, AuthenticationError):
        return _login_advice(host, sentinel)
    if isinstance(error, InvalidResponse):
        return next((advice for byte, advice in _FIRST_BYTES.items() if byte in text), _OTHER)
    if isinstance(error, ResponseError):
        return _reply_advice(error, host, sentinel)
    # Not a subclass: those say more.
    if type(error) is RedisConnectionError and (sentinel or _address(host)) not in text:
        if " connecting to " in text:
            return "no connection could be opened"
        return (
            "no connection could be opened; the server may have reached its maxclients, or be in "
            "protected mode"
        )
    return None


def _login_advice(host: Host, sentinel: str | None) -> str:
    place = "hosts" if sentinel is None else "sentinel_kwargs"
    arguments = host.arguments if sentinel is None else host.sentinel_arguments
    if arguments.get("password") or arguments.get("credential_provider"):
        return f'correct "username" and "password" in {place}'
    return f'write "password" in {place}, and "username" unless the user is the default one'


def _reply_advice(error: ResponseError, host: Host, sentinel: str | None) -> str | None:
    text = str(error)
    if isinstance(error, NoPermissionError):
        return "give this ACL user the rights that the documentation lists for the layer"
    if isinstance(error, ReadOnlyError) and not host.sentinels:
        return f"it is a replica: write the master in hosts, or {SENTINEL_FORM}"
    if "DB index" in text or "SELECT is not allowed" in text:
        return WRITE_DATABASE
    if "unknown command" in text.lower() and sentinel is not None:
        name, _, port = sentinel.rpartition(":")
        return (
            "it is a Redis server, not a Sentinel: write a Sentinel's port, such as 26379, or "
            f'the server as a host of its own, {{"host": "{name}", "port": {port}}}'
        )
    if "unknown command" in text.lower() and "select" in text.lower():
        return f"it may be a Sentinel: {SENTINEL_FORM}"
    return None


def _address(host: Host) -> str:
    if host.sentinels or host.nodes:
        return str(host)
    if "path" in host.arguments:
        return str(host.arguments["path"])
    return f"{host.arguments['host']}:{host.arguments['port']}"
