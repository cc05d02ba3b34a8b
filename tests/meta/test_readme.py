"""What the READMEs say of the layers' options is what the layers take."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

REPOSITORY = Path(__file__).parents[2]


def documented(readme: str, column: int) -> dict[str, object]:
    """Return the options in a README's table, with the defaults in one of its columns."""
    _, _, section = (REPOSITORY / readme).read_text().partition("\n## Options\n")
    table = re.search(r"^\| option \|.*\n\|[ -|]+\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert table is not None
    rows = [[cell.strip() for cell in line.split(" | ")] for line in table[1].splitlines()]
    return {
        row[0].strip("| `"): ast.literal_eval(row[column].strip("`"))
        for row in rows
        if row[column] != "-"
    }


@pytest.mark.parametrize(
    ("readme", "column", "layer"),
    [
        ("README.md", 1, RedisChannelLayer),
        ("README.md", 2, RedisPubSubChannelLayer),
        ("packages/channels-redis-queue/README.md", 1, RedisChannelLayer),
        ("packages/channels-redis-pubsub/README.md", 1, RedisPubSubChannelLayer),
    ],
)
def test_options_and_defaults(readme: str, column: int, layer: type[object]) -> None:
    """The table lists each option of the layer with its default, and no other."""
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(layer).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    assert taken == documented(readme, column)
