"""The pages describe the code as it is."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
SHARED = REPOSITORY / "shared/src/channels_redis_shared"
PACKAGES = {
    name: REPOSITORY / f"packages/channels-redis-{name}/src/channels_redis_{name}"
    for name in ("queue", "pubsub")
}
FRONT_PAGES = [
    "README.md",
    "docs/index.md",
    "packages/channels-redis/README.md",
    "packages/channels-redis-pubsub/README.md",
    "packages/channels-redis-queue/README.md",
]
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged() -> set[str]:
    """The text of each line that our code can log, with its placeholders."""
    texts = set()
    for folder in (SHARED, *PACKAGES.values()):
        for file in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LOG_METHODS
                    and ast.unparse(node.func.value).endswith(("logger", "faults"))
                    and isinstance(node.args[0], ast.Constant)
                ):
                    texts.add(str(node.args[0].value))
    return texts


def test_every_log_line_is_explained() -> None:
    """The page on operations has each text that our code can log, and no other."""
    page = (DOCS / "operations.md").read_text()
    explained = set(re.findall(r"^- `(.+)` \((?:DEBUG|INFO|WARNING|ERROR)", page, re.MULTILINE))
    assert explained == logged()


@pytest.mark.parametrize(
    ("column", "layer"), [(1, RedisChannelLayer), (2, RedisPubSubChannelLayer)]
)
def test_every_option_is_explained(column: int, layer: type[object]) -> None:
    """The page on options has each option of the layer with its default, an entry, an example."""
    page = (DOCS / "options.md").read_text()
    rows = re.findall(r"^\| \[`(\w+)`\]\S+ \| (.+) \| (.+) \|$", page, re.MULTILINE)
    listed = {row[0]: row[column].strip("`") for row in rows if row[column] != "-"}
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(layer).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    assert {name: ast.literal_eval(default) for name, default in listed.items()} == taken
    entries = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    for name in taken:
        entry = next(entry for entry in entries if f"`{name}`" in entry.partition("\n")[0])
        assert re.search(rf'CONFIG = .*"{name}"|^ *"{name}":', entry, re.MULTILINE), name


@pytest.mark.parametrize("page", FRONT_PAGES)
def test_figures(page: str) -> None:
    """The ratios of a page are those of the page of benchmarks."""
    measured: dict[str, dict[str, str]] = {}
    for row in re.findall(r"^\| (.+) \|$", (DOCS / "benchmarks.md").read_text(), re.MULTILINE):
        work, *cells = row.split(" | ")
        if len(cells) == 6:
            measured.setdefault(work, {"queue": cells[2], "Pub/Sub": cells[5]})
    text = (REPOSITORY / page).read_text()
    layers, table = re.findall(r"^\| work \| (.+) \|\n.+\n((?:\|.*\n)+)", text, re.MULTILINE)[0]
    for row in table.splitlines():
        work, *cells = row.strip("| ").split(" | ")
        for layer, ratio in zip(layers.split(" | "), cells, strict=True):
            assert measured[work][layer].split()[0] == ratio, (work, layer)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_figures_of_broadcasts(page: str) -> None:
    """The times for 1,000 browsers are those of the page on broadcasts, rounded."""
    table = (DOCS / "broadcast.md").read_text()
    times = r"^\| 1,000 sockets, 1 process: until .*? \| ([\d.]+) ms \| ([\d.]+) ms"
    ((without, broadcast),) = re.findall(times, table, re.MULTILINE)
    said = re.sub(r"\s+", " ", (REPOSITORY / page).read_text())
    for text in ("ms instead of", "ms with broadcasts,"):
        if f"{float(broadcast):.0f} {text} {float(without):.0f}" in said:
            return
    pytest.fail("The page has other figures.")
