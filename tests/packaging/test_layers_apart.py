"""Layers that carry different versions of the shared module, in one environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.builds import LAYERS, SHARED, Environment, SourceTree, module_of, run_ok
from support.installing import versions_in

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

    from .conftest import NewEnvironment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

HERE = Path(__file__).parent


def use_both(environment: Environment, server: EmbeddedServer, prefix: str) -> dict[str, Any]:
    """Use both layers in one process of an environment; return what was to be seen of each."""
    printed = environment.run(HERE / "both_layers.py", server.url, prefix)
    seen: dict[str, Any] = json.loads(printed)
    assert seen["texts"] == ["RedisPubSubChannelLayer", "RedisChannelLayer"]
    return seen


def change_shared(tree: SourceTree) -> None:
    """Commit a change of the shared module that is to be noticed: all names are on shard 0."""
    path = tree.root / SHARED / "transport/commands.py"
    text = path.read_text(encoding="utf-8")
    line = "    return int((crc32(name.encode()) & 0xFFF) / (4096 / shards))\n"
    assert text.count(line) == 1
    path.write_text(text.replace(line, "    return 0 * int(crc32(name.encode()) / shards)\n"))
    tree.commit("Put all names on the first shard")


@pytest.fixture
def newer(tree: SourceTree, tmp_path: Path) -> SourceTree:
    """Return a clone of the tree whose shared module has changed."""
    clone = tree.clone(tmp_path / "newer")
    change_shared(clone)
    return clone


@pytest.mark.parametrize("upgraded", LAYERS)
def test_one_layer_upgraded_alone(
    new_environment: NewEnvironment,
    newer: SourceTree,
    wheels: Path,
    tmp_path: Path,
    redis_server: EmbeddedServer,
    prefix: str,
    upgraded: str,
) -> None:
    """A new release of one layer works beside the older other, and neither touches the other.

    The new one carries a changed shared module. Both were installed by the meta-package, whose
    range lets the new one in.
    """
    environment = new_environment(with_pip=True)
    environment.install("--find-links", wheels, "channels-redis>=5")
    before = use_both(environment, redis_server, f"{prefix}before")
    assert set(before["shards"].values()) == {1}

    hatchling = (sys.executable, "-m", "hatchling", "version")
    run_ok(*hatchling, "minor", cwd=newer.package(upgraded))
    version = run_ok(*hatchling, cwd=newer.package(upgraded)).strip()
    wheel = newer.build("wheel", upgraded, tmp_path / "dist")
    versions = versions_in(environment.python)
    environment.run("-m", "pip", "install", "--quiet", "--upgrade", wheel)
    environment.run("-m", "pip", "check")
    assert versions_in(environment.python) == versions | {upgraded: version}

    after = use_both(environment, redis_server, f"{prefix}after")
    assert after["shards"] == before["shards"] | {module_of(upgraded): 0}
