"""The environments of the contenders, made by uv and kept for the next run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from installing import FOLDER, uv

if TYPE_CHECKING:
    from benchmarks.survey.contenders import Contender

REPOSITORY = Path(__file__).parents[3]


class NotInstalled(Exception):
    """A contender could not be installed; the message says why."""


def python_of(contender: Contender) -> Path:
    """Return the Python of the contender's environment, with the newest releases it can have.

    Raises:
        NotInstalled: The packages could not be had.
    """
    folder = FOLDER / "bench" / contender.name
    python = folder / "bin/python"
    requirements = [one.format(root=REPOSITORY) for one in contender.requirements]
    # Ours is linked to, so that what is measured is what stands in the tree.
    links = [word for one in requirements for word in (("-e", one) if contender.ours else (one,))]
    try:
        if not python.exists():
            uv("venv", "--clear", "--python", sys.executable, folder)
        uv("pip", "install", "--upgrade", "--python", python, *links)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(str(error.stderr).strip()) from error
    return python


def versions_of(contender: Contender, python: Path) -> dict[str, str]:
    """Return the versions of what matters to the contender's figures."""
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", python))
    versions = {one["name"]: one["version"] for one in listed}
    return {name: versions[name] for name in contender.version_of if name in versions}
