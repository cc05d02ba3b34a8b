"""The environments of the contenders, made by uv and kept for the next run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.survey.contenders import SITE
from support.installing import FOLDER, uv

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.survey.contenders import Contender

REPOSITORY = Path(__file__).parents[3]


class NotInstalled(Exception):
    """A contender could not be installed; the message says why."""


def python_of(contender: Contender) -> Path:
    """Return the Python of the contender's environment, with the newest releases it can have.

    Raises:
        NotInstalled: The packages could not be had.
    """
    return python_with(contender.name, (*contender.requirements, *SITE))


def python_with(name: str, requirements: Iterable[str]) -> Path:
    """Return the Python of the environment of this name, with the newest releases of all that.

    Raises:
        NotInstalled: The packages could not be had.
    """
    folder = FOLDER / "bench" / name
    python = folder / "bin/python"
    words: list[str] = []
    for one in requirements:
        # Ours is linked to, so that what is measured is what stands in the tree.
        words += ["-e", one.format(root=REPOSITORY)] if "{root}" in one else [one]
    try:
        if not python.exists():
            uv("venv", "--clear", "--python", sys.executable, folder)
        uv("pip", "install", "--upgrade", "--python", python, *words)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(str(error.stderr).strip()) from error
    return python


def versions_of(contender: Contender, python: Path) -> dict[str, str]:
    """Return the versions of what matters to the contender's figures."""
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", python))
    versions = {one["name"]: one["version"] for one in listed}
    return {name: versions[name] for name in contender.version_of if name in versions}
