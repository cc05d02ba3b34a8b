"""The doctor and `stats` with --django: the layers of a project's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.commands import PUBSUB, QUEUE, examine_by_command, run

if TYPE_CHECKING:
    from pathlib import Path

    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.commands import Report

SETTINGS = "shop_settings"


def write_settings(folder: Path, layers: dict[str, Any]) -> None:
    """Write the settings of a project."""
    (folder / f"{SETTINGS}.py").write_text(f"CHANNEL_LAYERS = {layers!r}\n")


def examine_project(package: str, folder: Path) -> Report:
    """Run the doctor in a project."""
    return examine_by_command(package, "--django", cwd=folder, DJANGO_SETTINGS_MODULE=SETTINGS)


def test_layers_of_the_settings(tmp_path: Path, redis_server: EmbeddedServer, prefix: str) -> None:
    """Each package's doctor looks at its own layers, with all their options."""
    config = {"hosts": [redis_server.url], "prefix": prefix}
    keys = {"symmetric_encryption_keys": ["a key for the tests"]}
    write_settings(
        tmp_path,
        {
            "default": {
                "BACKEND": "channels_redis.core.RedisChannelLayer",
                "CONFIG": {**config, **keys},
            },
            "second": {"BACKEND": "channels_redis_queue.RedisChannelLayer", "CONFIG": config},
            "live": {"BACKEND": "channels_redis_pubsub.RedisPubSubChannelLayer", "CONFIG": config},
            "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
        },
    )
    report = examine_project(QUEUE, tmp_path)
    assert report.status == 0
    encryption = [one["text"] for one in report.findings if one["subject"] == "encryption"]
    assert [text[:3] for text in encryption] == ["on", "off"]
    assert len([one for one in report.findings if one["subject"] == "message"]) == 2
    assert examine_project(PUBSUB, tmp_path).about("message")["level"] == "ok"
    shown = run(QUEUE, "stats", "--django", cwd=tmp_path, DJANGO_SETTINGS_MODULE=SETTINGS)
    assert shown.status == 0
    assert "'default'" in shown.out
    assert "'second'" in shown.out


@pytest.mark.parametrize("package", [QUEUE, PUBSUB])
def test_cluster(tmp_path: Path, redis_cluster: EmbeddedCluster, prefix: str, package: str) -> None:
    """Each node of a Cluster is looked at, and messages pass."""
    backend = {
        QUEUE: "channels_redis_queue.RedisChannelLayer",
        PUBSUB: "channels_redis_pubsub.RedisPubSubChannelLayer",
    }[package]
    config = {"hosts": [redis_cluster.host], "prefix": prefix}
    write_settings(tmp_path, {"default": {"BACKEND": backend, "CONFIG": config}})
    report = examine_project(package, tmp_path)
    assert report.status == 0
    kinds = [one["text"] for one in report.findings if one["subject"] == "topology"]
    assert kinds == ["a node of a Cluster"] * 3
    assert report.about("group message")["level"] == "ok"


def test_only_another_layer(tmp_path: Path) -> None:
    """Settings without a layer of this package get 2, and the classes that they have."""
    write_settings(tmp_path, {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
    done = run(QUEUE, "doctor", "--django", cwd=tmp_path, DJANGO_SETTINGS_MODULE=SETTINGS)
    assert done.status == 2
    assert "CHANNEL_LAYERS has no RedisChannelLayer" in done.err
    assert "InMemoryChannelLayer" in done.err


def test_wrong_option(tmp_path: Path) -> None:
    """An option that does not exist gets 2, the alias, and the nearest name."""
    backend = "channels_redis_queue.RedisChannelLayer"
    write_settings(tmp_path, {"one": {"BACKEND": backend, "CONFIG": {"capasity": 5}}})
    done = run(QUEUE, "doctor", "--django", cwd=tmp_path, DJANGO_SETTINGS_MODULE=SETTINGS)
    assert done.status == 2
    assert "CHANNEL_LAYERS['one']" in done.err
    assert "did you mean 'capacity'?" in " ".join(done.err.split())


def test_settings_that_fail(tmp_path: Path) -> None:
    """Settings that can't be imported, or none, get 2 and what to do."""
    (tmp_path / f"{SETTINGS}.py").write_text("CHANNEL_LAYERS = {}['missing']\n")
    failed = run(QUEUE, "doctor", "--django", cwd=tmp_path, DJANGO_SETTINGS_MODULE=SETTINGS)
    assert failed.status == 2
    assert "KeyError: 'missing'" in failed.err
    none = run(QUEUE, "doctor", "--django", cwd=tmp_path)
    assert none.status == 2
    assert "set DJANGO_SETTINGS_MODULE" in none.err
