"""The doctor's findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Level(IntEnum):
    """The severity of a finding."""

    OK = 0
    # Worth knowing; nothing is wrong.
    NOTE = 1
    # It works, but not always or not well.
    WARNING = 2
    # It does not work.
    ERROR = 3


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        level: Its severity.
        subject: What was checked, in a word or two.
        text: What was found.
        advice: What to change, for all that is wrong.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""


@dataclass
class Section:
    """The findings about one layer or server."""

    title: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def worst(self) -> Level:
        """The highest level of its findings."""
        return max((finding.level for finding in self.findings), default=Level.OK)
