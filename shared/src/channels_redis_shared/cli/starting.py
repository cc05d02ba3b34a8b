"""Starts the commands, if what they need is installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .subject import Subject

NOT_WORKING = 2


def start(subject: Subject) -> int:
    """Run the command that the process's arguments name; return the exit status."""
    try:
        from .commands import run  # noqa: PLC0415 - it imports what may be missing
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich"}:
            raise
        sys.stderr.write(
            f"This command needs {missing}, which is not installed: "
            f'run pip install "{subject.distribution}[cli]"\n'
        )
        return NOT_WORKING
    return run(subject)
