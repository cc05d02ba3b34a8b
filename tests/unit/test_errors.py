"""Transient errors, the pauses between attempts, and the log records of an outage."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest
from redis import exceptions

from channels_redis_shared.transport.errors import is_temporary, is_transient, was_not_executed
from channels_redis_shared.transport.reconnecting import Backoff, OutageLog

AWAY = [
    exceptions.ConnectionError("Connection closed by server."),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.TimeoutError("no answer within 5 s"),
    asyncio.TimeoutError(),
    ConnectionResetError(),
    OSError("no route to host"),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.ResponseError("READONLY You can't write against a read only replica."),
    exceptions.ResponseError("LOADING Redis is loading the dataset in memory"),
    exceptions.ResponseError("MASTERDOWN Link with MASTER is down"),
    exceptions.ResponseError("UNBLOCKED force unblock from blocking operation"),
    exceptions.ResponseError("CLUSTERDOWN The cluster is down"),
    # As Redis 6.2 writes what a script was refused.
    exceptions.ResponseError(
        "Error running script (call to f_0): @user_script:3: @user_script: 3: "
        "-READONLY You can't write against a read only replica."
    ),
]
STAYS = [
    exceptions.AuthenticationError("WRONGPASS invalid username-password pair"),
    exceptions.NoPermissionError("this user has no permissions"),
    exceptions.ResponseError("WRONGTYPE Operation against a key"),
    exceptions.ResponseError("unknown command 'EVALSHA'"),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    ValueError("what else"),
]


def described(error: Exception) -> str:
    """Return a name for a case."""
    return f"{type(error).__name__} {str(error)[:25]}"


@pytest.mark.parametrize("error", AWAY, ids=described)
def test_away(error: Exception) -> None:
    """Trying again later, on a new connection, can help."""
    assert is_transient(error)


@pytest.mark.parametrize("error", STAYS, ids=described)
def test_not_away(error: Exception) -> None:
    """Trying again can't help: the settings, the data or the code are wrong."""
    assert not is_transient(error)
    assert not was_not_executed(error)


def test_certificate_that_is_refused() -> None:
    """A bad certificate stays bad, however deep in the causes it is."""
    cause = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    cause.reason = "CERTIFICATE_VERIFY_FAILED"
    error = exceptions.ConnectionError("Error 1 connecting")
    error.__cause__ = cause
    assert not is_transient(error)


def test_refused() -> None:
    """Only a reply of the server proves that a command was not executed."""
    assert was_not_executed(exceptions.ResponseError("READONLY You can't write"))
    assert was_not_executed(exceptions.ReadOnlyError("You can't write"))
    assert was_not_executed(exceptions.NoScriptError("No matching script."))
    assert not was_not_executed(exceptions.ConnectionError("lost"))
    assert not was_not_executed(exceptions.TimeoutError())
    assert not was_not_executed(OSError())


def test_backoff() -> None:
    """Waits double, vary, are capped, and start anew after a success."""
    backoff = Backoff()
    waits = [backoff.next() for _ in range(12)]
    longest = Backoff.FIRST
    for wait in waits:
        assert longest / 2 <= wait <= longest
        longest = min(2 * longest, Backoff.LONGEST)
    assert max(waits) <= Backoff.LONGEST
    assert len(set(waits)) == len(waits)
    backoff.reset()
    assert backoff.next() <= Backoff.FIRST


@pytest.fixture
def outages(caplog: pytest.LogCaptureFixture) -> OutageLog:
    """Return the log of one host."""
    caplog.set_level(logging.INFO)
    return OutageLog(logging.getLogger("test"), "redis://host:1/0")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return the levels and texts of what was logged."""
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_one_line_each(outages: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    """However many lose the host, however often they try: one WARNING, one INFO."""
    for _ in range(3):
        for who in ("a", "b", "c"):
            outages.lost(who, OSError("refused"))
    for who in ("a", "b", "c"):
        outages.found(who)
        outages.found(who)
    assert lines(caplog) == [
        ("WARNING", "Lost redis://host:1/0: refused; trying again until it is back"),
        ("INFO", "redis://host:1/0 is back"),
    ]


def test_each_node_of_a_cluster(outages: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    """An outage of several nodes names each once; it ends when all are back."""
    for _ in range(2):
        for node in ("a:1", "b:1"):
            for connection in ("1", "2"):
                outages.lost(f"{connection} to {node}", OSError("refused"), node)
    outages.found("1 to a:1")
    outages.found("2 to a:1")
    for connection in ("1", "2"):
        outages.found(f"{connection} to b:1")
    assert lines(caplog) == [
        (
            "WARNING",
            f"Lost node {node} of the redis://host:1/0: refused; trying again until it is back",
        )
        for node in ("a:1", "b:1")
    ] + [("INFO", "redis://host:1/0 is back")]


def test_one_that_gave_up(outages: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that ends during an outage affects no other receiver of the host."""
    for who in ("a", "b"):
        outages.lost(who, OSError())
    outages.forget("a")
    outages.found("b")
    outages.lost("c", OSError())
    outages.forget("c")
    outages.lost("d", OSError())
    assert [level for level, _ in lines(caplog)] == ["WARNING", "INFO", "WARNING", "WARNING"]


@pytest.mark.parametrize("code", ["BUSY", "MISCONF", "NOREPLICAS"])
def test_passing_states(code: str) -> None:
    """A reader waits for their end; a sender gets them at once."""
    for text in (f"{code} for now", f"Error running script: @user_script: 3: -{code} for now"):
        error = exceptions.ResponseError(text)
        assert is_temporary(error)
        assert not is_transient(error)
    assert is_temporary(exceptions.ConnectionError("lost"))
    assert not is_temporary(exceptions.NoPermissionError("this user has no permissions"))
