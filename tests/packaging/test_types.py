"""A program that uses an installed package, read by type checkers as its author would do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.builds import Environment, run

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

CHECKERS = ("mypy", "pyright[nodejs]", "typing-extensions")
PYRIGHT = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": True}


# With the stubs of Channels, the layers have a typed base class; without, one of type Any.
@pytest.mark.parametrize("stubs", [(), ("types-channels",)], ids=["plain", "with stubs"])
def test_type_checkers_understand_a_package(
    environment: Environment, wheels: Path, tmp_path: Path, stubs: tuple[str, ...]
) -> None:
    """Correct uses pass mypy and pyright at their strictest, and both find each mistake.

    A mistake in the program has a comment that is itself an error if none is found.
    """
    environment.install(next(wheels.glob("*queue*")), *CHECKERS, *stubs)
    folder = tmp_path / "program"
    folder.mkdir()
    program = shutil.copy(Path(__file__).with_name("queue_program.py"), folder)
    environment.run("-m", "mypy", "--strict", "--config-file=", program)
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    python = environment.python
    found = run(python, "-m", "pyright", "--pythonpath", python, cwd=folder)
    assert "0 errors, 0 warnings" in found.stdout, found.stdout
