"""Each Python block of the documentation runs, and each layer that it configures can be created."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.utils.module_loading import import_string

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from support.default_layer import default_layer
from support.pages import LOCALHOST, PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_server import EmbeddedServer

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *sorted(REPOSITORY.glob("docs/*.md")),
    *sorted(REPOSITORY.glob("packages/*/README.md")),
    REPOSITORY / "README.md",
]
# A block that cannot run has a comment before it: <!-- not run: REASON -->
BLOCK = re.compile(
    r"^(?P<comment>[ ]*<!-- not run: [^\n]+ -->\n+)?"
    r"(?P<indent>[ ]*)```python\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LAYERS = (RedisChannelLayer, RedisPubSubChannelLayer)


def blocks() -> Iterator[Any]:
    """Find the blocks, except those that a comment excludes and those that are whole files."""
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            # Files of the quick start's project are run together, by a test for that page.
            if match["comment"] or re.search(rf"{PATH}\Z", text[: match.start()]):
                continue
            line = text.count("\n", 0, match.start("code"))
            code = "\n" * line + textwrap.dedent(match["code"])
            yield pytest.param(code, id=f"{page.relative_to(REPOSITORY)}:{line}")


BLOCKS = list(blocks())


@pytest.mark.parametrize("code", BLOCKS)
def test_block(code: str, redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in a site with a layer, and its CHANNEL_LAYERS and CONFIG are valid."""
    monkeypatch.setenv("CHANNELS_KEY", "not secret")
    names: dict[str, Any] = {}
    with default_layer(RedisChannelLayer([redis_server.url])):
        for statement in ast.parse(code.replace(LOCALHOST, redis_server.url)).body:
            part = compile(ast.Module([statement], []), "block", "exec")
            exec(part, names)  # noqa: S102 - it is our own
            if isinstance(statement, ast.Assign):
                assigned = ast.unparse(statement.targets[0])
                if assigned == "CHANNEL_LAYERS":
                    for layer in names[assigned].values():
                        import_string(layer["BACKEND"])(**layer.get("CONFIG", {}))
                elif assigned == "CONFIG":
                    create_layers(names[assigned])


def create_layers(config: dict[str, Any]) -> None:
    """Create each of our layers that has all of these options."""
    able = [cls for cls in LAYERS if config.keys() <= inspect.signature(cls).parameters.keys()]
    assert able, f"no layer has all of the options {sorted(config)}"
    for cls in able:
        cls(**config)


def test_blocks_are_found() -> None:
    """The pages do have blocks, also in lists."""
    assert len(BLOCKS) > 40
