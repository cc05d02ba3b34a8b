"""Transient errors, the pauses between attempts, and the log records of an outage."""

from __future__ import annotations

import asyncio
import logging

import pytest
from redis import exceptions

from channels_redis_shared.transport.errors import (
    is_redirect,
    is_temporary,
    is_transient,
    was_not_executed,
)
from channels_redis_shared.transport.reconnecting import Backoff, OutageLog

UNANSWERED = [
    OSError("no route to host"),
    asyncio.TimeoutError(),
    exceptions.TimeoutError("no answer within 5 s"),
    exceptions.ConnectionError("lost"),
]
REFUSED = [
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    *(
        exceptions.ResponseError(f"{code} for some reason")
        for code in ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "CLUSTERDOWN")
    ),
    # As Redis 6.2 writes what a script was refused.
    exceptions.ResponseError("Error running script (call to f_0): @user_script: 3: -READONLY You"),
]
# Slots that are elsewhere.
REDIRECTS = [
    exceptions.MovedError("866 10.0.0.1:7001"),
    exceptions.AskError("866 10.0.0.1:7001"),
    exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
]
STAYS = [
    exceptions.AuthenticationError("WRONGPASS invalid username-password pair"),
    exceptions.NoPermissionError("this user has no permissions"),
    exceptions.ResponseError("WRONGTYPE Operation against a key"),
    exceptions.ResponseError("unknown command 'EVALSHA'"),
    exceptions.NoScriptError("No matching script."),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    ValueError("what else"),
]


def described(error: Exception) -> str:
    """A name for a case."""
    return f"{type(error).__name__} {str(error)[:25]}"


@pytest.mark.parametrize("error", [*UNANSWERED, *REFUSED, *REDIRECTS], ids=described)
def test_away(error: Exception) -> None:
    """Trying again later, on a new connection, can help.

    Only a reply of the server proves that a command was not executed.
    """
    assert is_transient(error)
    assert is_redirect(error) == (error in REDIRECTS)
    assert was_not_executed(error) == (error not in UNANSWERED)


@pytest.mark.parametrize("error", STAYS, ids=described)
def test_not_away(error: Exception) -> None:
    """Trying again can't help: the settings, the data or the code are wrong."""
    assert not is_transient(error)
    assert was_not_executed(error) == isinstance(error, exceptions.NoScriptError)


def test_backoff() -> None:
    """Waits double, vary, are capped, and start anew after a success."""
    backoff = Backoff()
    waits = [backoff.next() for _ in range(12)]
    for wait, longest in zip(waits, (0.05, 0.1, 0.2, 0.4, 0.8, *[1.0] * 7), strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == len(waits)
    backoff.reset()
    assert backoff.next() <= Backoff.FIRST


def test_each_node_of_a_cluster(caplog: pytest.LogCaptureFixture) -> None:
    """An outage of several nodes names each once, and its slot; it ends when all are back."""
    caplog.set_level(logging.INFO)
    outages = OutageLog(logging.getLogger("test"), "Redis Cluster")
    for node, error in (("a:1", OSError("refused")), ("b:1", REDIRECTS[0])):
        for connection in ("1", "2"):
            outages.lost(f"{connection} to {node}", error, node)
    for connection in ("1 to a:1", "2 to a:1", "1 to b:1", "2 to b:1"):
        assert len(caplog.messages) == 2
        outages.found(connection)
    moved = "slot 866 has moved, or is about to move, to 10.0.0.1:7001"
    assert caplog.messages == [
        "Lost node a:1 of the Redis Cluster: refused; trying again until it is back",
        f"Lost node b:1 of the Redis Cluster: {moved}; trying again until it is back",
        "Redis Cluster is back",
    ]


@pytest.mark.parametrize("code", ["BUSY", "MISCONF", "NOREPLICAS"])
def test_passing_states(code: str) -> None:
    """A reader waits for their end; a sender gets them at once."""
    for text in (f"{code} for now", f"Error running script: @user_script: 3: -{code} for now"):
        error = exceptions.ResponseError(text)
        assert is_temporary(error)
        assert not is_transient(error)
    assert is_temporary(exceptions.ConnectionError("lost"))
    assert not is_temporary(exceptions.NoPermissionError("this user has no permissions"))
