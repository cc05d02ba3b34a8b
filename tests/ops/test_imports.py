"""Importing a layer does not import the commands."""

from __future__ import annotations

import pytest

from support.commands import PACKAGES
from support.programs import run_new


@pytest.mark.parametrize("package", PACKAGES)
def test_layer_imports_no_command(package: str) -> None:
    """Importing a layer imports no command."""
    code = (
        f"import sys, {package}; print([name for name in sys.modules if "
        "name.endswith(('._shared.cli', '.doctor', '._shared.ops.django_checks'))])"
    )
    assert run_new("-c", code).out == "[]\n"
