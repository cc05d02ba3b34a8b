"""Lines of the log: names that are escaped and cut, and faults that are counted."""

from __future__ import annotations

import logging

import pytest

import channels_redis_pubsub  # noqa: F401 - it sets its logger up
from channels_redis_queue._shared.ops.logs import MAX_SHOWN, FaultLog, shown

LOGGER = "channels_redis_queue"
TEXT = "Dropped a message of %s that can't be read: %s"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat.Größe-1", "chat.Größe-1"),
        ("a\nb\r\x1b[31m\x00", "a\\nb\\r\\x1b[31m\\x00"),
        ("a\u2028b\u202ec\udc80", "a\\u2028b\\u202ec\\udc80"),
        (b"chat\xff\n", "chat\\xff\\n"),
        (b"Gr\xc3\xb6\xc3\x9fe", "Größe"),
        ("x" * MAX_SHOWN, "x" * MAX_SHOWN),
        ("x" * (MAX_SHOWN + 7), "x" * MAX_SHOWN + "… (7 more)"),
    ],
    ids=["plain", "control", "unicode", "bytes", "utf-8", "longest", "cut"],
)
def test_shown(text: str | bytes, expected: str) -> None:
    """One line without control characters, whatever the text."""
    assert shown(text) == expected


@pytest.mark.parametrize("package", ["channels_redis_queue", "channels_redis_pubsub"])
def test_all_lines_of_a_layer(caplog: pytest.LogCaptureFixture, package: str) -> None:
    """Whatever module logs, its arguments are escaped; numbers stay numbers."""
    logger = logging.getLogger(package)
    logger.warning("%s, %d, %s", "a\nb", 7, ValueError("c\nd"))
    logger.warning("%(x)s has no position", {"x": 1})
    logger.warning("100 % plain")
    # The names of channels that lose messages may come from messages.
    FaultLog(logger).warning("%s is full", "a!b\n2026-11-25 CRITICAL root \x1b[2Jlogged in")
    assert [record.getMessage() for record in caplog.records] == [
        "a\\nb, 7, c\\nd",
        "1 has no position",
        "100 % plain",
        "a!b\\n2026-11-25 CRITICAL root \\x1b[2Jlogged in is full",
    ]


def test_a_line_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fault of a channel is logged; then a line a minute says how many there were."""
    clock = [100.0]
    monkeypatch.setattr("channels_redis_queue._shared.ops.logs.monotonic", lambda: clock[0])
    faults = FaultLog(logging.getLogger(LOGGER))
    for second in range(150):
        clock[0] = 100.0 + second
        faults.warning(TEXT, "jobs", f"reason {second}")
    faults.warning(TEXT, "others", "reason")
    faults.warning("%s is full", "jobs", count=5)
    clock[0] = 320.0
    faults.warning("%s is full", "jobs", count=2)
    assert [record.getMessage() for record in caplog.records] == [
        "Dropped a message of jobs that can't be read: reason 0",
        "Dropped a message of jobs that can't be read: reason 60 (60 more within 60 s)",
        "Dropped a message of jobs that can't be read: reason 120 (60 more within 60 s)",
        "Dropped a message of others that can't be read: reason",
        "jobs is full",
        # The first line stands for one of five.
        "jobs is full (6 more within 71 s)",
    ]


def test_faults_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """Memory is bounded, for any number of channels."""
    faults = FaultLog(logging.getLogger(LOGGER))
    faults.MAX_KEYS = 10
    caplog.set_level(logging.ERROR)
    for number in range(25):
        faults.warning(TEXT, f"channel-{number}", "reason")
    assert len(faults._repeats) == 5
