"""Django's system checks: each mistake that settings show, by its id, with a hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ops.conftest import BOTH, PUBSUB, QUEUE
from support import programs

if TYPE_CHECKING:
    from ops.conftest import Check

PROJECT = Path(__file__).parent / "project.py"
KEY = "a random key of more than 32 characters"


def default(backend: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return CHANNEL_LAYERS with one layer."""
    return {"default": {"BACKEND": backend, "CONFIG": config}}


def ids(found: list[Any]) -> list[str]:
    """Return the ids; fail if a finding has no hint."""
    assert all(finding.hint for finding in found)
    return [finding.id for finding in found]


@pytest.mark.parametrize(("app", "backend"), BOTH)
def test_good_settings(check: Check, app: str, backend: str) -> None:
    """Settings without a mistake get no message; a project that signs nothing has no SECRET_KEY."""
    config = {"hosts": ["redis://localhost:6379/0"], "symmetric_encryption_keys": [KEY]}
    for secret_key in ("another", ""):
        assert check(app, default(backend, config), SECRET_KEY=secret_key) == []


@pytest.mark.parametrize(("app", "backend"), BOTH)
def test_short_key(check: Check, app: str, backend: str) -> None:
    """A short encryption key is a warning that names its place, and not the key."""
    found = check(app, default(backend, {"symmetric_encryption_keys": [KEY, "hunter2"]}))
    assert ids(found) == [f"{app}.W001"]
    assert "['symmetric_encryption_keys'][1] has 7 characters" in found[0].msg
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("setting", ["SECRET_KEY", "SECRET_KEY_FALLBACKS"])
@pytest.mark.parametrize("key", [KEY, KEY[:32], KEY[-32:].encode()])
@pytest.mark.parametrize(("app", "backend"), BOTH)
def test_secret_key_used_again(
    check: Check, app: str, backend: str, key: str | bytes, setting: str
) -> None:
    """A key that Django signs with, or a part of one, is a warning, which does not show it."""
    value = KEY if setting == "SECRET_KEY" else [KEY]
    found = check(app, default(backend, {"symmetric_encryption_keys": [key]}), **{setting: value})
    assert ids(found) == [f"{app}.W002"]
    assert KEY not in str(found)


def test_channels_redis_4(check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A layer of channels_redis 4, installed next to the queue package, is a warning."""
    metadata = tmp_path / "channels_redis-4.3.0.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: channels_redis\nVersion: 4.3.0\n")
    layers = default("channels_redis.core.RedisChannelLayer", {})
    assert check("channels_redis_queue", layers) == []
    monkeypatch.syspath_prepend(tmp_path)
    found = check("channels_redis_queue", layers)
    assert ids(found) == ["channels_redis_queue.W007"]
    assert "is the layer of channels_redis 4.3.0" in found[0].msg


@pytest.mark.parametrize(("app", "backend"), BOTH)
def test_other_layers_are_others_business(check: Check, app: str, backend: str) -> None:
    """Layers of other packages, and entries that can't be imported, get no message from ours."""
    (other,) = {QUEUE, PUBSUB} - {backend}
    for entry in (other, "channels.layers.InMemoryChannelLayer", "there.is.none"):
        assert check(app, default(entry, {"capasity": 5})) == []


def test_meta_package_checks_both() -> None:
    """In a project, the app channels_redis checks both kinds, and each once next to their apps."""
    names = ["channels_redis", "channels_redis_queue", "channels_redis_pubsub"]
    backends = {"one": "channels_redis.core.RedisChannelLayer", "two": PUBSUB}
    layers = {
        alias: {"BACKEND": backend, "CONFIG": {"capasity": 5}}
        for alias, backend in backends.items()
    }
    for apps in (names[:1], names):
        project = {"INSTALLED_APPS": apps, "CHANNEL_LAYERS": layers}
        done = programs.run(str(PROJECT), json.dumps(project))
        assert sorted(json.loads(done.out)) == [
            "channels_redis_pubsub.E001",
            "channels_redis_queue.E001",
        ]
