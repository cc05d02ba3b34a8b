"""Programs that use the installed packages, read by type checkers as their authors would do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.builds import REPOSITORY, Environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import NewEnvironment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

PROGRAMS = sorted(REPOSITORY.glob("tests/packaging/*_program.py"))
# With the stubs of Channels, the layers have a typed base class; without, one of type Any.
STUBS = pytest.mark.parametrize("stubs", [(), ("types-channels",)], ids=["plain", "with stubs"])


@pytest.fixture
def environment(
    new_environment: NewEnvironment, wheels: Path, stubs: tuple[str, ...]
) -> Environment:
    """Return an environment with the packages, both type checkers, and some stubs."""
    made = new_environment()
    checkers = ("mypy", "pyright[nodejs]", "typing-extensions")
    made.install("--find-links", wheels, "channels-redis[cryptography]>=5", *checkers, *stubs)
    return made


@STUBS
def test_type_checkers_understand_the_packages(environment: Environment, tmp_path: Path) -> None:
    """Correct uses pass mypy and pyright at their strictest, and both find each mistake.

    A mistake in a program has a comment that is itself an error if none is found.
    """
    assert PROGRAMS
    programs = [tmp_path / program.name for program in PROGRAMS]
    for program, original in zip(programs, PROGRAMS, strict=True):
        program.write_bytes(original.read_bytes())
    environment.run("-m", "mypy", "--strict", "--config-file=", *programs)
    settings = {
        "include": ["*_program.py"],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    found = run(
        environment.python, "-m", "pyright", "--pythonpath", environment.python, cwd=tmp_path
    )
    assert "0 errors, 0 warnings" in found.stdout, found.stdout
