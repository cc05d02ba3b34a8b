"""Software for a test or a benchmark: uv installs it into a folder that is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / ".environments"


def uv(*command: str | Path) -> str:
    """Run uv; return what it printed.

    Raises:
        subprocess.CalledProcessError: It failed; what it wrote to stderr is in the error.
    """
    settings = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    # Without this process's environment.
    inherited = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [_find_uv(), *command],
        env={**inherited, **settings},
        check=True,
        capture_output=True,
        text=True,
        errors="replace",
    )
    return done.stdout


def installed(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of this name in `FOLDER`; if it is not there yet, `make` fills it with uv.

    Raises:
        subprocess.CalledProcessError: That failed; what uv wrote to stderr is in the error.
    """
    folder = FOLDER / name
    if not folder.exists():
        # Several processes may do this at once.
        unfinished = folder.with_name(f"{name}.{os.getpid()}")
        try:
            make(unfinished)
            if not folder.exists():
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def environment(
    name: str, requirements: Iterable[str], *more: str, wanted: str = sys.executable
) -> Path:
    """Return the Python of an environment with the newest releases of the requirements.

    Args:
        name: A path in `FOLDER`.
        requirements: What is installed; what names `{root}`, this repository, is linked to.
        more: Further arguments of `uv pip install`.
        wanted: The interpreter to take if there is one, instead of this.

    Raises:
        subprocess.CalledProcessError: That failed; what uv wrote to stderr is in the error.
    """
    folder = FOLDER / name
    python = folder / "bin/python"
    if not python.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            uv("venv", "--clear", "--python", wanted, folder)
        except subprocess.CalledProcessError:
            uv("venv", "--clear", "--python", sys.executable, folder)
    words: list[str] = []
    for one in requirements:
        words += ["-e", one.format(root=REPOSITORY)] if "{root}" in one else [one]
    uv("pip", "install", "--upgrade", "--python", python, *words, *more)
    return python


def versions_in(python: Path) -> dict[str, str]:
    """Return the version of each distribution in an environment, by its name in lower case."""
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", python))
    return {one["name"].lower(): one["version"] for one in listed}


def channels_redis_4() -> Path:
    """Return the Python of an environment with `channels_redis` 4.3.0.

    Raises:
        subprocess.CalledProcessError: It could not be installed.
    """
    # redis-py 8 ends its idle connections after 5 s.
    packages = ("channels_redis==4.3.0", "cryptography", "redis<8")

    def make(folder: Path) -> None:
        uv("venv", "--relocatable", "--python", sys.executable, folder)
        uv("pip", "install", "--python", folder / "bin/python", *packages)

    name = f"channels-redis-4.3.0-python-{sys.version_info.major}.{sys.version_info.minor}"
    return installed(name, make) / "bin/python"


def _find_uv() -> str:
    """Return the path of uv: hatch's, or that of the package."""
    if found := os.environ.get("HATCH_UV"):
        return found
    from uv import find_uv_bin  # noqa: PLC0415 - where hatch runs this, the package may be missing

    return find_uv_bin()
