"""Decides which errors mean that a server is away, and how long to wait before the next try."""

from __future__ import annotations

import asyncio
import ssl

from redis import exceptions

# Answers of a server that is up but cannot serve now: a replica, one that loads its data, a
# failover that ends a blocking wait, a slot that moved. Redis 6.2 wraps them in a script's error.
# What a Cluster's node says of a slot that is elsewhere, or on its way; redis-py 5.0 has no classes
# for it.
_ELSEWHERE_CODES = ("MOVED ", "ASK ", "TRYAGAIN ")
_AWAY_CODES = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "CLUSTERDOWN", *_ELSEWHERE_CODES)
# Answers of a server that serves again when a script ends, a disk has room, or a replica is back.
# A caller is told of these at once; who waits for messages anyway can wait for that, too.
_PASSING_CODES = ("BUSY", "MISCONF", "NOREPLICAS")
# In the reasons that OpenSSL gives, for a certificate that we refuse and for alerts of the server.
_TLS_REFUSALS = (
    "ACCESS_DENIED",
    "CERTIFICATE",
    "HANDSHAKE_FAILURE",
    "PROTOCOL_VERSION",
    "UNKNOWN_CA",
    "WRONG_VERSION_NUMBER",
)
_AWAY_ERRORS = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.AskError,  # MovedError is one, too
    exceptions.TryAgainError,
    asyncio.TimeoutError,
    OSError,
)


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again later, on a new connection, can help.

    A refused password, a missing right or a bad certificate is no outage: it stays until
    somebody mends the settings.
    """
    if isinstance(error, exceptions.AuthenticationError) or tls_refusal(error):
        return False
    if isinstance(error, _AWAY_ERRORS):
        return True
    return isinstance(error, exceptions.ResponseError) and _says(_AWAY_CODES, str(error))


def is_temporary(error: BaseException) -> bool:
    """Tell whether who waits for messages can wait for the end of this as well."""
    if is_transient(error):
        return True
    return isinstance(error, exceptions.ResponseError) and _says(_PASSING_CODES, str(error))


def was_not_executed(error: BaseException) -> bool:
    """Tell whether the server's answer proves that the command was not carried out."""
    return isinstance(error, exceptions.ResponseError) and is_transient(error)


def is_redirect(error: BaseException) -> bool:
    """Tell whether a Cluster's node refused what it has not, or is just about to give away.

    The connection is as good as ever.
    """
    if isinstance(error, exceptions.AskError | exceptions.TryAgainError):
        return True
    return isinstance(error, exceptions.ResponseError) and str(error).startswith(_ELSEWHERE_CODES)


def is_of_slot(error: BaseException) -> bool:
    """Return whether a Cluster's node refused a slot that it does not serve, and no more."""
    if isinstance(error, exceptions.ClusterDownError) or is_redirect(error):
        return True
    return isinstance(error, exceptions.ResponseError) and str(error).startswith("CLUSTERDOWN")


def misplaced_slot(error: BaseException) -> int | None:
    """Return the slot that a Cluster's node says another one owns, if the error tells."""
    if isinstance(error, exceptions.AskError) or str(error).startswith(("MOVED ", "ASK ")):
        return int(str(error).split(" ")[-2])
    return None


def _says(codes: tuple[str, ...], text: str) -> bool:
    return text.startswith(codes) or any(f"-{code}" in text for code in codes)


def tls_refusal(error: BaseException) -> ssl.SSLError | None:
    """Return why one side refuses what the other shows: a certificate, or a version of TLS."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and any(
            word in (seen.reason or "") for word in _TLS_REFUSALS
        ):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
