"""The name of a class tells which one it is."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SOURCES = [REPOSITORY / "shared/src", *sorted(REPOSITORY.glob("packages/*/src"))]
REPEATED = {
    "Command": "Django looks for this name in the module of each management command",
    "SerializersRegistry": "public, and in channels_redis that of both layers",
}


def test_each_class_has_a_name_of_its_own() -> None:
    """No two classes of the product have the same name, except those listed here."""
    # The copies of the shared code are links, or made by a build.
    files = {
        file
        for source in SOURCES
        for file in source.rglob("*.py")
        if "_shared" not in file.relative_to(source).parts
    }
    names = Counter(
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert len(names) > 100
    assert {name for name, count in names.items() if count > 1} == set(REPEATED)
