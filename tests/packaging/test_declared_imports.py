"""Each package declares every third-party distribution that it imports."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from support.builds import PACKAGES, contents, module_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Built

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]


def imports_of(source: str) -> Iterator[str]:
    """Yield the top-level module of every absolute import that runs, wherever it stands."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
        waiting.extend(ast.iter_child_nodes(node))


def declared_in(metadata: str) -> set[str]:
    """Return the distributions that a wheel's METADATA requires, those of its extras included.

    An extra is taken for the distribution that it is named after: redis[hiredis] brings hiredis.
    """
    lines = re.findall(r"^Requires-Dist: (.+)", metadata, re.MULTILINE)
    required = [Requirement(line) for line in lines]
    names = {one.name for one in required}.union(*(one.extras for one in required))
    return {name.lower().replace("_", "-") for name in names}


def distributions_of(module: str) -> set[str]:
    """Return what brings ``module``, several for a namespace; its own name if none is installed."""
    names = packages_distributions().get(module, [module])
    return {name.lower().replace("_", "-") for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_declares_what_it_imports(built: dict[str, Built], package: str) -> None:
    """Every third-party import of the module, the vendored part included, is a requirement."""
    files = contents(built[package].wheel_from_tree)
    imported = {
        module
        for name, data in files.items()
        if name.endswith(".py")
        for module in imports_of(data.decode())
    }
    third_party = imported - set(sys.stdlib_module_names) - {module_of(package)}
    (metadata,) = (data for name, data in files.items() if name.endswith("/METADATA"))
    declared = declared_in(metadata.decode())
    assert {module for module in third_party if not distributions_of(module) & declared} == set()
    assert third_party
