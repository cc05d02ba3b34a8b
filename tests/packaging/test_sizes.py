"""The costs of a package: its download, and the time of its import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.builds import LAYERS, PACKAGES, module_of

if TYPE_CHECKING:
    from .conftest import Built, NewEnvironment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
IMPORT_LIMIT = 60.0  # ms of processor time beyond Channels and redis-py
IMPORTS = 7  # the quickest counts: all that others do on the machine only adds
# KB of 1024 bytes: a tenth above what is there, so that only a file by mistake is noticed.
WHEEL_LIMITS = {"channels-redis": 9, "channels-redis-pubsub": 179, "channels-redis-queue": 220}


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_is_small(built: dict[str, Built], package: str) -> None:
    """A package's wheel stays below its limit."""
    size = built[package].wheel_from_tree.stat().st_size / 1024
    assert size < WHEEL_LIMITS[package], f"{package}: {size:.1f} KB"


@pytest.mark.parametrize("layer", LAYERS)
def test_import_is_quick(
    new_environment: NewEnvironment, built: dict[str, Built], layer: str
) -> None:
    """Importing a layer costs less than the limit beyond what Channels and redis-py cost."""
    environment = new_environment()
    environment.install(f"{built[layer].wheel_from_tree}[cryptography]")
    measure = (HERE / "measure_import.py", module_of(layer))
    environment.run(*measure)  # compiles the modules, which happens once
    times = [float(environment.run(*measure)) for _ in range(IMPORTS)]
    assert min(times) < IMPORT_LIMIT, f"{layer}: {min(times):.1f} ms"
