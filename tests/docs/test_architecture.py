"""The pages on architecture name things as the code does."""

from __future__ import annotations

import re
from operator import le
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from channels_redis_queue._shared.background import SHORT_LIVED_CALLS
from support.builds import read_toml
from support.calls import Passed, passed

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted((REPOSITORY / "docs/architecture").glob("*.md"))
# Of asyncio and redis-py.
FOREIGN = {"BlockingConnectionPool", "get_credentials_async", "run_forever"}
# The modules, functions and calls at most on the way of a message to a channel, and to a group; in
# the order in which the page names the layers.
MOST = {
    "channels_redis_queue": ((12, 66, 79), (16, 84, 101)),
    "channels_redis_pubsub": ((9, 38, 42), (9, 38, 42)),
}


def code() -> str:
    """The source of the product and the names of its files and folders."""
    folders = [REPOSITORY / "shared/src", *REPOSITORY.glob("packages/*/src")]
    files = (file for folder in folders for file in folder.rglob("*"))
    return "\n".join(
        f"{file.relative_to(REPOSITORY)}\n{file.read_text()}"
        for file in files
        if file.suffix in {".py", ".lua"}
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names(page: Path) -> None:
    """Each identifier in backticks is in the code, and each class defines the member it names."""
    source = code()
    known = set(re.findall(r"\w+", source)) | FOREIGN
    named = set(re.findall(r"`(?!tests|pyproject)([A-Za-z_][\w./]*)`", page.read_text()))
    words = {word for name in named for word in re.split(r"[./]", name) if word}
    assert words - known == set()
    for cls, member in re.findall(r"`([A-Z]\w+)\.(\w+)`", page.read_text()):
        body = re.search(rf"^class {cls}\b.*?(?=^\S)", source, re.MULTILINE | re.DOTALL)
        assert body is not None, cls
        assert re.search(rf"\b{member}\b", body[0]), f"{cls}.{member}"


@pytest.mark.parametrize("layer", ["queue", "pubsub"])
def test_drawing(layer: str) -> None:
    """The drawing of a layer's modules has those of the import contracts."""
    drawing = (REPOSITORY / f"docs/images/modules-{layer}.svg").read_text()
    drawn = re.findall(r'font-weight="600">(\w+)<', drawing)
    settings = read_toml(REPOSITORY / "pyproject.toml")
    rows = {
        container: contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        for container in contract.get("containers", ())
    }
    package = f"channels_redis_{layer}"
    expected: list[str] = []
    for row in rows[package]:
        expected += row.split(" | ")
        if row == "protocol":
            expected += " | ".join(rows[f"{package}.protocol"]).split(" | ")
    expected += ["_shared", *" | ".join(rows["channels_redis_shared"]).split(" | ")]
    assert sorted(drawn) == sorted(expected)


@pytest.mark.parametrize("layer_class", [RedisChannelLayer, RedisPubSubChannelLayer])
async def test_way_of_a_message(
    redis_server: EmbeddedServer, prefix: str, layer_class: type[Any]
) -> None:
    """A message passes as many modules as the page says, and not too much code."""
    page = (REPOSITORY / "docs/architecture/index.md").read_text()
    named = re.findall(r"(\d+) (?:modules )?of the", page)
    written = dict(zip(MOST, map(int, named), strict=True))
    package = layer_class.__module__.partition(".")[0]
    sender, layer = (layer_class(hosts=[redis_server.url], prefix=prefix) for _ in range(2))
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    for _ in range(SHORT_LIVED_CALLS):  # then it has its own connections
        await sender.send(channel, {"type": "hello"})
        await layer.receive(channel)
    direct = await passed(layer, channel, lambda: sender.send(channel, {"type": "hello"}))
    grouped = await passed(layer, channel, lambda: sender.group_send("room", {"type": "hello"}))
    for each in (sender, layer):
        await each.close_pools()
    assert len(grouped.modules) == written[package], sorted(grouped.modules)
    for way, most in zip((direct, grouped), MOST[package], strict=True):
        assert all(map(le, way.counts, most)), (way.counts, sorted(way.calls))


@pytest.mark.parametrize("layer_class", [RedisChannelLayer, RedisPubSubChannelLayer])
async def test_way_of_a_replay(
    redis_server: EmbeddedServer, prefix: str, layer_class: type[Any]
) -> None:
    """A channel that joins with `since` passes no more modules than the page says."""
    page = (REPOSITORY / "docs/architecture/history.md").read_text()
    named = re.search(r"passes at most (\d+) modules of either layer", page)
    assert named is not None
    layer = layer_class(hosts=[redis_server.url], prefix=prefix, history={"room": {}})
    member = await layer.new_channel()
    joined = await layer.group_add("room", member)
    await layer.group_send("room", {"type": "hello"})
    await layer.receive(member)
    way = Passed()
    for _ in range(3):  # the first time opens connections
        channel = await layer.new_channel()
        with way.count(layer):
            await layer.group_add("room", channel, since=joined.position)
        assert (await layer.receive(channel))["type"] == "hello"
    await layer.close_pools()
    assert len(way.modules) <= int(named[1]), sorted(way.modules)
