"""Importing a layer does not import the commands."""

from __future__ import annotations

import pytest

from support.commands import PACKAGES
from support.programs import run, run_new


@pytest.mark.parametrize("package", PACKAGES)
def test_layer_imports_no_command(package: str) -> None:
    """Importing a layer imports neither the commands nor what they need."""
    code = (
        f"import sys, {package}; print([name for name in sys.modules if name in ('click', 'rich') "
        "or name.endswith(('._shared.cli', '.doctor', '._shared.ops.django_checks'))])"
    )
    assert run_new("-c", code).out == "[]\n"


@pytest.mark.parametrize("missing", ["click", "rich"])
@pytest.mark.parametrize("package", PACKAGES)
def test_extra_is_missing(package: str, missing: str) -> None:
    """Without what the commands need, one line says what to install, and the status is 2."""
    code = (
        f"import sys, runpy; sys.modules[{missing!r}] = None; sys.argv[1:] = ['doctor']; "
        f"runpy.run_module({package!r}, run_name='__main__')"
    )
    done = run("-c", code)
    assert done.status == 2
    extra = f"{package.replace('_', '-')}[cli]"
    assert done.err == (
        f'This command needs {missing}, which is not installed: run pip install "{extra}"\n'
    )
