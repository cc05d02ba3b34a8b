"""Classify errors: which are transient, and which prove that a command was not executed."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING

from redis import exceptions

if TYPE_CHECKING:
    from collections.abc import Sequence

# Errors of a server that can't serve now: a replica, one that loads its data, a failover that ends
# a blocking wait. Redis 6.2 wraps them in a script's error.
_TRANSIENT = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "CLUSTERDOWN")
# Errors until a script ends, a disk has room, or a replica is back. Commands raise them at once; a
# blocked `receive` waits.
_TEMPORARY = ("BUSY", "MISCONF", "NOREPLICAS")
# Parts of OpenSSL's reasons, for a certificate that is refused here and for alerts of the server.
_TLS_REFUSALS = re.compile(
    "ACCESS_DENIED|CERTIFICATE|HANDSHAKE_FAILURE|PROTOCOL_VERSION|UNKNOWN_CA|WRONG_VERSION_NUMBER"
)


_TRANSIENT_ERRORS = (
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
    """Return whether a retry on a new connection can succeed.

    A refused password, a missing permission and a bad certificate last until the settings change.
    """
    if isinstance(error, exceptions.AuthenticationError) or tls_refusal(error):
        return False
    if isinstance(error, _TRANSIENT_ERRORS):
        return True
    return isinstance(error, exceptions.ResponseError) and _says(_TRANSIENT, str(error))


def is_temporary(error: BaseException) -> bool:
    """Return whether a blocked `receive` should keep waiting through this error."""
    if is_transient(error):
        return True
    return isinstance(error, exceptions.ResponseError) and _says(_TEMPORARY, str(error))


def was_not_executed(error: BaseException) -> bool:
    """Return whether the error is a reply which proves that the command was not executed."""
    if isinstance(error, exceptions.NoScriptError):
        return True
    # The latter is no ResponseError in redis-py, but a reply.
    replied = isinstance(error, exceptions.ResponseError | exceptions.BusyLoadingError)
    return replied and is_transient(error)


def is_from_replica(error: BaseException) -> bool:
    """Return whether a server has refused a write because it is a replica."""
    return isinstance(error, exceptions.ReadOnlyError) or _says(("READONLY",), str(error))


def is_redirect(error: BaseException) -> bool:
    """Return whether a Cluster's node redirects a command, on a connection that stays usable."""
    return isinstance(error, exceptions.AskError | exceptions.TryAgainError)


def is_of_slot(error: BaseException) -> bool:
    """Return whether the error concerns a slot of a Cluster and not the connection."""
    return isinstance(error, exceptions.ClusterDownError) or is_redirect(error)


def sum_up(
    errors: Sequence[Exception], kind: type[exceptions.ConnectionError], text: str
) -> Exception:
    """Return the first error that is not transient, or else one of a kind with all reasons."""
    for error in errors:
        if not is_transient(error):
            return error
    return kind(f"{text}: {'; '.join(dict.fromkeys(map(str, errors)))}")


def _says(codes: tuple[str, ...], text: str) -> bool:
    return text.startswith(codes) or any(f"-{code}" in text for code in codes)


def tls_refusal(error: BaseException) -> ssl.SSLError | None:
    """Return the cause that is a refused certificate or version of TLS, if there is one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and _TLS_REFUSALS.search(seen.reason or ""):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
