"""Each Python block of the documentation runs, and each layer that it configures can be made."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.utils.module_loading import import_string

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from support.default_layer import default_layer
from support.pages import PATH

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
LOCALHOST = "redis://localhost:6379/0"


@dataclass(frozen=True)
class Block:
    """One Python block of one page."""

    page: Path
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    def run(self, url: str) -> Iterator[dict[str, Any]]:
        """Run it, with a server's URL in place of localhost; yield its names as they change."""
        names: dict[str, Any] = {}
        source = "\n" * self.line + self.code.replace(LOCALHOST, url)
        for statement in ast.parse(source, str(self.page)).body:
            part = ast.Module([statement], [])
            exec(compile(part, str(self.page), "exec"), names)  # noqa: S102 - it is our own
            yield names


def blocks() -> Iterator[Block]:
    """Find the blocks, but for those that a comment excludes and those that are whole files."""
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            # Files of the quick start's project are run together, by a test of their own.
            if match["comment"] or re.search(rf"{PATH}\Z", text[: match.start()]):
                continue
            code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
            yield Block(page, text.count("\n", 0, match.start("code")), code)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, redis_server: EmbeddedServer) -> Iterator[None]:
    """Make what the blocks take for granted: a site's settings, its layer, a key."""
    monkeypatch.setenv("CHANNELS_KEY", "not secret")
    with default_layer(RedisChannelLayer([redis_server.url])):
        yield


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("block", list(blocks()), ids=str)
def test_block(block: Block, redis_server: EmbeddedServer) -> None:
    """It runs, and what it calls CHANNEL_LAYERS or CONFIG makes layers."""
    checked: list[object] = []
    for names in block.run(redis_server.url):
        for name, check in (("CHANNEL_LAYERS", make_layers), ("CONFIG", make_one)):
            config = names.get(name)
            if config is not None and all(config is not other for other in checked):
                check(config)
                checked.append(config)


def make_layers(config: dict[str, Any]) -> None:
    """Make each layer, as Channels does."""
    for layer in config.values():
        import_string(layer["BACKEND"])(**layer.get("CONFIG", {}))


def make_one(config: dict[str, Any]) -> None:
    """Make each of our layers that has all of these options."""
    able = [cls for cls in LAYERS if config.keys() <= inspect.signature(cls).parameters.keys()]
    assert able, f"no layer has all of the options {sorted(config)}"
    for cls in able:
        cls(**config)


def test_blocks_are_found() -> None:
    """The pages do have blocks, the indented ones in lists as well."""
    found = [str(block.page.name) for block in blocks()]
    assert found.count("security.md") >= 4
    assert found.count("options.md") >= 10
    assert "README.md" in found
