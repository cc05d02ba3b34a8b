"""Builds a package so that the same commit gives the same bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from .packages import ReleaseError, git

if TYPE_CHECKING:
    from .packages import Package

# The build backend is part of what decides on the bytes.
CONSTRAINTS = Path(__file__).with_name("build-constraints.txt")


def build(package: Package, to: Path) -> list[Path]:
    """Build the sdist of a package, and the wheel from it; return both files.

    Args:
        package: What to build.
        to: A folder for the two; what was in it is removed.

    Raises:
        ReleaseError: The build failed.
    """
    shutil.rmtree(to, ignore_errors=True)
    epoch = git(package.root, "log", "-1", "--format=%ct").strip()
    command = (
        *(find_uv_bin(), "build", "--quiet", "--no-create-gitignore", "--out-dir", str(to)),
        *("--build-constraints", str(CONSTRAINTS), "--require-hashes", str(package.folder)),
    )
    done = subprocess.run(
        command,
        env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ReleaseError(f"{package.name} was not built:\n{done.stderr}".rstrip())
    return sorted(to.iterdir())


def describe(files: list[Path]) -> str:
    """Return a line for each file, as ``sha256sum`` prints it, with the size."""
    return "\n".join(f"{hash_line(path)}  {path.stat().st_size / 1024:.1f} KB" for path in files)


def hash_line(path: Path) -> str:
    """Return the line that ``sha256sum`` prints of a file."""
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
