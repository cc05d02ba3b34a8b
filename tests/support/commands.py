"""The commands of both packages, run as a person does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from channels_redis_pubsub.doctor import PubSubDoctor
from channels_redis_queue.doctor import QueueDoctor
from channels_redis_shared.cli.findings import Level
from support import programs

if TYPE_CHECKING:
    from pathlib import Path

    from support.programs import Done

QUEUE, PUBSUB = "channels_redis_queue", "channels_redis_pubsub"
META = "channels_redis"
PACKAGES = (QUEUE, PUBSUB)
CLASSES = {QUEUE: "RedisChannelLayer", PUBSUB: "RedisPubSubChannelLayer"}
DOCTORS: dict[str, Any] = {QUEUE: QueueDoctor(), PUBSUB: PubSubDoctor()}


def run(package: str, *arguments: str, cwd: Path | None = None, **environ: str) -> Done:
    """Run a command of a package; keywords are environment variables."""
    return programs.run("-m", package, *arguments, cwd=cwd, **environ)


@dataclass(frozen=True)
class Report:
    """The doctor's findings, and the exit status that they mean."""

    status: int
    findings: list[dict[str, str]]

    def of(self, level: str) -> list[dict[str, str]]:
        """Return the findings of a level."""
        return [finding for finding in self.findings if finding["level"] == level]

    def about(self, subject: str) -> dict[str, str]:
        """Return the one finding about something."""
        (found,) = [finding for finding in self.findings if finding["subject"] == subject]
        return found


def examine(package: str, *hosts: Any, **options: Any) -> Report:
    """Return what the doctor says of hosts, in this process; a command costs a second.

    Fails if a finding that is bad has no advice.
    """
    doctor = DOCTORS[package]
    sections = asyncio.run(
        doctor.diagnose("layer", partial(doctor.layer_class, [*hosts], **options))
    )
    findings = [
        {**vars(finding), "level": finding.level.name.lower()}
        for section in sections
        for finding in section.findings
    ]
    report = Report(max(0, *(one.worst - Level.NOTE for one in sections)), findings)
    assert all(finding["advice"] for finding in report.of("warning") + report.of("error"))
    return report
