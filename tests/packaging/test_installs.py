"""Packages installed into new environments, as users install them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.builds import LAYERS, PACKAGES, Environment, module_of
from support.installing import versions_in

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

EXTRAS = ("cryptography", "opentelemetry")


@pytest.mark.parametrize("package", PACKAGES)
def test_install(
    environment: Environment, wheels: Path, redis_server: EmbeddedServer, package: str
) -> None:
    """A layer needs nothing of the other; channels-redis brings both. Every module imports.

    The command `doctor` passes messages through each layer. An extra is optional.
    """
    module = module_of(package)
    environment.install("--find-links", wheels, package)
    layers = [package] if package in LAYERS else [*LAYERS]
    assert versions_in(environment.python).keys() & {*PACKAGES} == {package, *layers}
    environment.run(Path(__file__).with_name("import_all.py"), module)
    found = environment.run("-m", module, "doctor", redis_server.url)
    assert found.count("group message") == len(layers), found
    missing = f"import importlib.util as u; print([u.find_spec(name) for name in {EXTRAS}])"
    assert environment.run("-c", missing).strip() == "[None, None]"
    environment.install("--find-links", wheels, f"{package}[{','.join(EXTRAS)}]")
    environment.run("-c", f"import {', '.join(EXTRAS)}")
