"""The doctor and `stats` for the layers of a project's settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.commands import META, PUBSUB, QUEUE, run

if TYPE_CHECKING:
    from pathlib import Path

    from embedded_server import EmbeddedServer
    from support.programs import Done

SETTINGS = "shop_settings"

DEFAULT, LIVE, SECOND = (f"CHANNEL_LAYERS[{alias!r}]" for alias in ("default", "live", "second"))


def write_settings(folder: Path, layers: dict[str, Any], *apps: str) -> None:
    """Write the settings of a project."""
    # Without USE_TZ, Django 4.2 warns.
    settings = f"CHANNEL_LAYERS = {layers!r}\nINSTALLED_APPS = {apps!r}\nUSE_TZ = True\n"
    (folder / f"{SETTINGS}.py").write_text(settings)


def run_in(folder: Path, package: str, *arguments: str) -> Done:
    """Run a command in a project."""
    return run(package, *arguments, cwd=folder, DJANGO_SETTINGS_MODULE=SETTINGS)


@pytest.fixture
def both_layers(tmp_path: Path, redis_server: EmbeddedServer, prefix: str) -> Path:
    """Return the folder of a project with layers of each package, and all apps."""
    config = {"hosts": [redis_server.url], "prefix": prefix}
    keys = {"symmetric_encryption_keys": ["a key for the tests"]}
    layers = {
        "default": {"BACKEND": f"{META}.core.RedisChannelLayer", "CONFIG": {**config, **keys}},
        "live": {"BACKEND": f"{META}.pubsub.RedisPubSubChannelLayer", "CONFIG": config},
        "second": {"BACKEND": f"{QUEUE}.RedisChannelLayer", "CONFIG": config},
        "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    }
    write_settings(tmp_path, layers, META, QUEUE, PUBSUB)
    return tmp_path


def titles(printed: str) -> list[str]:
    """Return the titles of the layers in the output of `stats`."""
    return [layer["layer"] for layer in json.loads(printed)]


EXAMINED = [(META, [DEFAULT, LIVE, SECOND]), (QUEUE, [DEFAULT, SECOND]), (PUBSUB, [LIVE])]


@pytest.mark.parametrize("manage", [(), ("django",)], ids=["python -m", "manage.py"])
@pytest.mark.parametrize(("package", "aliases"), EXAMINED)
def test_layers_of_the_settings(
    both_layers: Path, package: str, aliases: list[str], manage: tuple[str, ...]
) -> None:
    """Each package's command examines its own layers, with all their options."""
    shown = run_in(both_layers, *manage, package, "stats")
    assert titles(shown.out) == aliases
    done = run_in(both_layers, *manage, package, "doctor")
    assert (done.status, done.err) == (0, "")
    assert [f"{alias}\n" in done.out for alias in aliases] == [True] * len(aliases)
    assert done.words.count("ok message arrived") == len(aliases)


def test_both_layers_of_a_url(redis_server: EmbeddedServer) -> None:
    """With a URL, the meta-package's command examines a layer of each package there."""
    done = run(META, "doctor", redis_server.url)
    assert done.status == 0
    assert done.words.count("ok message arrived") == 2


OTHER = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
TYPO = {"BACKEND": "channels_redis_queue.RedisChannelLayer", "CONFIG": {"hots": []}}


@pytest.mark.parametrize("manage", [(), ("django",)], ids=["python -m", "manage.py"])
@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ({"default": OTHER}, "CHANNEL_LAYERS has no RedisChannelLayer"),
        ({"default": TYPO}, "CHANNEL_LAYERS['default']"),
        ({"default": TYPO}, "did you mean 'hosts'?"),
    ],
)
def test_wrong_layers(
    tmp_path: Path, layers: dict[str, Any], text: str, manage: tuple[str, ...]
) -> None:
    """They get 2 and the reason, also where Django's checks would fail."""
    write_settings(tmp_path, layers, QUEUE)
    done = run_in(tmp_path, *manage, QUEUE, "doctor")
    assert done.status == 2
    assert text in " ".join(done.err.split())


def test_settings_that_fail(tmp_path: Path) -> None:
    """Settings that can't be imported are named, with the traceback."""
    (tmp_path / f"{SETTINGS}.py").write_text("CHANNEL_LAYERS = {}['missing']\n")
    failed = run_in(tmp_path, QUEUE, "doctor")
    assert failed.status
    assert "the settings fail: KeyError: 'missing'" in failed.err
