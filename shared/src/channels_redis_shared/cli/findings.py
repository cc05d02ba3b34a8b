"""What the doctor found, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Level(IntEnum):
    """How bad a finding is."""

    OK = 0
    # Worth knowing; nothing is wrong.
    NOTE = 1
    # It works, and will not always, or not well.
    WARNING = 2
    # It does not work.
    ERROR = 3


_STATUS = {Level.OK: 0, Level.NOTE: 0, Level.WARNING: 1, Level.ERROR: 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How bad it is.
        subject: What was looked at, in a word or two.
        text: What was seen.
        advice: What to change. Needed for all that is not well.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError if it says that something is wrong, and not what to do."""
        if self.level >= Level.WARNING and not self.advice:
            raise ValueError(f"the finding {self.text!r} needs an advice")

    def as_dict(self) -> dict[str, str]:
        """Return it as plain values."""
        return {
            "level": self.level.name.lower(),
            "subject": self.subject,
            "text": self.text,
            "advice": self.advice,
        }


@dataclass
class Section:
    """The findings about one thing: a server, a layer."""

    title: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def worst(self) -> Level:
        """The level of its worst finding."""
        return worst(finding.level for finding in self.findings)


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor found."""

    sections: list[Section]
    # What a bug report needs: of each thing its version.
    versions: Mapping[str, str]

    @property
    def status(self) -> int:
        """The exit status: 0, 1 for warnings, 2 if something does not work."""
        return _STATUS[worst(section.worst for section in self.sections)]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "status": self.status,
            "sections": [
                {
                    "title": section.title,
                    "findings": [finding.as_dict() for finding in section.findings],
                }
                for section in self.sections
            ],
            "versions": dict(self.versions),
        }


def worst(levels: Iterable[Level]) -> Level:
    """Return the worst of the levels; OK if there is none."""
    return max(levels, default=Level.OK)
