"""Importing a layer imports neither its commands nor OpenTelemetry."""

from __future__ import annotations

import pytest

from support.commands import PACKAGES
from support.programs import run_new


@pytest.mark.parametrize("package", PACKAGES)
def test_layer_imports_only_what_it_needs(package: str) -> None:
    """Commands are imported when one is run, OpenTelemetry with the first layer."""
    code = (
        # Newer versions of redis-py import OpenTelemetry themselves.
        "import sys, redis.asyncio, channels.layers; before = set(sys.modules); "
        f"import {package}; print([name for name in set(sys.modules) - before if "
        "name.endswith(('._shared.cli', '.doctor', '._shared.ops.django_checks'))"
        " or name.startswith('opentelemetry')])"
    )
    assert run_new("-c", code).out == "[]\n"
