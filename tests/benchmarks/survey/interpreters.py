"""The environments of the contenders, made by uv and kept for the next run."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.survey.contenders import SITE
from support.installing import environment, versions_in

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.survey.contenders import Contender


class NotInstalled(Exception):
    """A contender could not be installed; the message says why."""


def python_of(contender: Contender) -> Path:
    """Return the Python of the contender's environment, with the newest releases it can have.

    Raises:
        NotInstalled: The packages could not be had.
    """
    try:
        return environment(f"bench/{contender.name}", (*contender.requirements, *SITE))
    except subprocess.CalledProcessError as error:
        raise NotInstalled(str(error.stderr).strip()) from error


def versions_of(contender: Contender, python: Path) -> dict[str, str]:
    """Return the versions of what matters to the contender's figures."""
    versions = versions_in(python)
    return {name: versions[name] for name in contender.version_of if name in versions}
