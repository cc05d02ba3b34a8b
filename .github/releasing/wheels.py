"""Runs the tests on built wheels, in a copy of the repository that has no source of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from uv import find_uv_bin

from .building import build
from .packages import ReleaseError, find_packages, git

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .packages import Package

SOURCES = ("packages/", "shared/")
# What looks at a layer from outside, or at modules that its wheel has; the rest is about the tree.
TESTS = ("tests/conformance", "tests/queue", "tests/pubsub", "tests/meta/test_import_strings.py")
EXTRAS = "cryptography,hiredis"


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    root: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        scripts = "Scripts" if sys.platform == "win32" else "bin"
        return self.root / scripts / "python"

    def call(self, command: Sequence[str | Path], cwd: Path) -> None:
        """Run a command that shows what it does, without this process's Python paths.

        Raises:
            ReleaseError: It failed.
        """
        hidden = ("PYTHONPATH", "VIRTUAL_ENV")
        inherited = {key: value for key, value in os.environ.items() if key not in hidden}
        done = subprocess.run(command, cwd=cwd, env=inherited, check=False)
        if done.returncode != 0:
            shown = " ".join(map(str, command))
            raise ReleaseError(f"exit status {done.returncode} of: {shown}")


def test_wheels(
    root: Path, built: Collection[str], dist: Path, pytest_arguments: Sequence[str]
) -> None:
    """Install the wheels of all packages, remove their source, and run the tests on them.

    Args:
        root: The repository.
        built: The packages whose wheel in ``dist`` is to be tested; the others are built now.
        dist: Where `build` put the archives, a folder for each package.
        pytest_arguments: What to run instead of the default tests, as pytest takes it.

    Raises:
        ReleaseError: A wheel is missing, or a test failed.
    """
    with TemporaryDirectory(prefix="wheels-") as folder:
        here = Path(folder)
        wheels = [
            _wheel_in(dist / package.name if name in built else _build(package, here))
            for name, package in find_packages(root).items()
        ]
        tree = here / "tree"
        _copy_without_sources(root, tree)
        environment = _install(wheels, here / "environment", tree)
        _check_origins(environment, find_packages(root), tree)
        chosen = pytest_arguments or [path for path in TESTS if (tree / path).exists()]
        pytest = (environment.python, "-m", "pytest", "-p", "no:cacheprovider")
        environment.call([*pytest, *chosen], tree)


def _build(package: Package, here: Path) -> Path:
    build(package, here / package.name)
    return here / package.name


def _wheel_in(folder: Path) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ReleaseError(
            f"{folder} should hold one wheel: hatch run release:build {folder.name} makes it"
        )
    return wheels[0].resolve()


def _copy_without_sources(root: Path, to: Path) -> None:
    """Copy what git knows or would add, but for the sources of the packages."""
    listed = git(root, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    for name in filter(None, listed):
        if (root / name).is_file() and not name.startswith(SOURCES):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)


def _install(wheels: Sequence[Path], to: Path, tree: Path) -> Environment:
    """Make an environment with the wheels and what the tests need."""
    environment = Environment(to)
    uv = find_uv_bin()
    environment.call([uv, "venv", "--quiet", "--python", sys.executable, to], tree)
    pip = (uv, "pip", "install", "--quiet", "--python", environment.python)
    requirements = [f"{wheel}[{EXTRAS}]" for wheel in wheels]
    environment.call([*pip, "--group", "test", *requirements], tree)
    return environment


def _check_origins(environment: Environment, packages: Collection[str], tree: Path) -> None:
    """Fail if a module would come from anywhere but the wheels."""
    modules = [name.replace("-", "_") for name in packages]
    check = (
        "import importlib, pathlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    module = importlib.import_module(name)\n"
        "    assert pathlib.Path(module.__file__).is_relative_to(sys.prefix), module.__file__\n"
        "    print(name, module.__version__)\n"
    )
    environment.call([environment.python, "-c", check, *modules], tree)
