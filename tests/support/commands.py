"""The commands of both packages, run as a person does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from channels_redis_pubsub.doctor import PubSubDoctor
from channels_redis_queue.doctor import QueueDoctor
from channels_redis_shared.cli.commands import diagnose, layers_at
from support import programs

if TYPE_CHECKING:
    from pathlib import Path

    from support.programs import Done

QUEUE, PUBSUB = "channels_redis_queue", "channels_redis_pubsub"
META = "channels_redis"
PACKAGES = (QUEUE, PUBSUB)
CLASSES = {QUEUE: "RedisChannelLayer", PUBSUB: "RedisPubSubChannelLayer"}


def run(package: str, *arguments: str, cwd: Path | None = None, **environ: str) -> Done:
    """Run a command of a package; keywords are environment variables."""
    return programs.run("-m", package, *arguments, cwd=cwd, **environ)


@dataclass(frozen=True)
class Report:
    """The output of `doctor --json`."""

    status: int
    findings: list[dict[str, str]]
    versions: dict[str, str]

    def of(self, level: str) -> list[dict[str, str]]:
        """Return the findings of a level."""
        return [finding for finding in self.findings if finding["level"] == level]

    def about(self, subject: str) -> dict[str, str]:
        """Return the one finding about something."""
        (found,) = [finding for finding in self.findings if finding["subject"] == subject]
        return found


DOCTORS: dict[str, Any] = {QUEUE: QueueDoctor(), PUBSUB: PubSubDoctor()}


def examine(package: str, *hosts: Any, prefix: str | None = None) -> Report:
    """Return what the doctor says of hosts, in this process; a command costs a second."""
    return _report(asyncio.run(diagnose(layers_at([DOCTORS[package]], hosts, prefix))))


def examine_by_command(package: str, *arguments: str, **options: Any) -> Report:
    """Run the doctor; return what it said."""
    done = run(package, "doctor", "--json", *arguments, **options)
    assert done.out, done.err
    printed = json.loads(done.out)
    assert printed["status"] == done.status
    return _report(printed)


def _report(said: dict[str, Any]) -> Report:
    """Return the report; fail if a finding that is bad has no advice."""
    findings = [finding for section in said["sections"] for finding in section["findings"]]
    report = Report(said["status"], findings, said["versions"])
    assert all(finding["advice"] for finding in report.of("warning") + report.of("error"))
    return report
