"""The upgrade from `channels_redis` 4, as its users do it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.builds import Environment, run_ok

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

SITE = Path(__file__).parent / "site_for_4"
FIND = "import importlib.util as u; print(u.find_spec('channels_redis.utils') is not None)"


def test_upgrade_of_a_site(
    environment: Environment,
    wheels: Path,
    redis_server: EmbeddedServer,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A site for 4.3.0 passes its own tests with it and, unchanged, with both layers of ours.

    It has consumers of both kinds, a view, encryption, and capacities by pattern.
    `pip install --upgrade` takes the distribution's old name, and leaves no module of 4.3.0.
    """
    site = shutil.copytree(SITE, tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    monkeypatch.setenv("SHOP_REDIS", redis_server.url)
    # With redis-py 8, the idle consumers of 4.3.0 end after 5 s.
    environment.install("channels-redis[cryptography]==4.3.0", "daphne", "redis<8")
    for version in ("4.3.0", "5"):
        if version == "5":
            upgrade = ("-m", "pip", "install", "--quiet", "--upgrade", "--find-links", wheels)
            environment.run(*upgrade, "channels_redis[cryptography]")
            environment.run("-m", "pip", "check")
        assert environment.run("-c", FIND) == f"{version == '4.3.0'}\n"
        for layer in ("core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"):
            monkeypatch.setenv("SHOP_LAYER", f"channels_redis.{layer}")
            monkeypatch.setenv("SHOP_PREFIX", f"{prefix}{version}{layer[:4]}")
            for command in ("check", "test"):
                run_ok(environment.python, "-m", "django", command, cwd=site)
