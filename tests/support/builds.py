"""Builds the packages from a copy of this repository, and environments to install them into."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uv import find_uv_bin

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from typing_extensions import Self

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("channels-redis", "channels-redis-pubsub", "channels-redis-queue")
LAYERS = PACKAGES[1:]


def module_of(package: str) -> str:
    """Return the name under which ``package`` is imported."""
    return package.replace("-", "_")


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without this process's virtual environment and paths."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command, cwd=cwd, env=inherited, capture_output=True, text=True, check=False
    )


def run_ok(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command as `run` does; return what it printed, fail with it if it exits non-zero."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class SourceTree:
    """A copy of this repository's files, committed to a git repository of its own."""

    root: Path

    @classmethod
    def make(cls, root: Path, *paths: str) -> Self:
        """Copy every file that git knows or would add, links as links, and commit them.

        Args:
            root: Where to; it must not be there yet.
            paths: Only what lies at or below one of these; all of the repository by default.
        """
        root.mkdir()
        listing = ("git", "ls-files", "-z", "-co", "--exclude-standard", "--", *paths)
        listed = run_ok(*listing, cwd=REPOSITORY)
        for name in filter(None, listed.split("\0")):
            source, target = REPOSITORY / name, root / name
            if source.is_symlink() or source.exists():  # a deleted file stays listed
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(source, target)
        run_ok("git", "init", "-q", "-b", "main", cwd=root)
        tree = cls(root).sign()
        tree.commit("The tree under test")
        return tree

    def package(self, name: str) -> Path:
        """Return the directory of one package."""
        return self.root / "packages" / name

    def clone(self, to: Path) -> Self:
        """Clone the repository, links as links, to change and commit there."""
        run_ok("git", "clone", "-q", "-c", "core.symlinks=true", self.root, to)
        return type(self)(to).sign()

    def sign(self) -> Self:
        """Let git commit in the repository under a name of the tests'."""
        run_ok("git", "config", "user.name", "tests", cwd=self.root)
        run_ok("git", "config", "user.email", "tests@example.org", cwd=self.root)
        return self

    def commit(self, message: str = "A change") -> None:
        """Commit all that changed."""
        run_ok("git", "add", "--all", cwd=self.root)
        run_ok("git", "commit", "-q", "-m", message, cwd=self.root)


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.readlink())
    else:
        target.write_bytes(source.read_bytes())
        target.chmod(source.stat().st_mode)


def build(kind: str, source: Path, to: Path) -> Path:
    """Build the ``sdist`` or the ``wheel`` of a directory or an sdist; return the file."""
    run_ok(find_uv_bin(), "build", "-q", f"--{kind}", "--out-dir", to, source)
    (built,) = (path for path in to.iterdir() if path.suffix in (".gz", ".whl"))
    return built


@dataclass(frozen=True)
class Environment:
    """A virtual environment with nothing in it but what a test installs."""

    root: Path

    @classmethod
    def make(cls, root: Path, *, with_pip: bool = False) -> Environment:
        """Make one with the Python that runs the tests."""
        seed = ("--seed",) if with_pip else ()
        run_ok(find_uv_bin(), "venv", "-q", *seed, "--python", sys.executable, root)
        return cls(root)

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / "bin/python"

    def install(self, *arguments: str | Path) -> None:
        """Install with ``uv pip install``; arguments as pip's."""
        run_ok(find_uv_bin(), "pip", "install", "-q", "--python", self.python, *arguments)

    def run(self, *arguments: str | Path) -> str:
        """Run the interpreter, cut off from the current directory; return what it printed."""
        return run_ok(self.python, "-I", *arguments)
