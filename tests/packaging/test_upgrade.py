"""The upgrade from `channels_redis` 4, as its users do it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.builds import run_ok

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.builds import Environment

    from .conftest import NewEnvironment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

HERE = Path(__file__).parent


def files_of(environment: Environment) -> set[str]:
    """Return the files of our packages that lie in an environment, without compiled ones."""
    library = environment.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    site = Path(library.strip())
    return {
        path.relative_to(site).as_posix()
        for path in site.glob("channels_redis*/**/*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_upgrade_of_a_site(
    new_environment: NewEnvironment,
    wheels: Path,
    redis_server: EmbeddedServer,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A site for 4.3.0 passes its own tests with it and, unchanged, with both layers of ours.

    It has consumers of both kinds, a view, encryption, and capacities by pattern.
    `pip install --upgrade` takes the distribution's old name, and leaves nothing of 4.3.0.
    """
    environment = new_environment(with_pip=True)
    site = tmp_path / "site"
    shutil.copytree(HERE / "site_for_4", site, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("SHOP_REDIS", redis_server.url)
    # With redis-py 8, the idle consumers of 4.3.0 end after 5 s.
    environment.install("channels-redis[cryptography]==4.3.0", "daphne", "redis<8")
    assert "channels_redis/utils.py" in files_of(environment)
    for version in ("4.3.0", "5"):
        if version == "5":
            upgrade = ("-m", "pip", "install", "--quiet", "--upgrade", "--find-links", wheels)
            environment.run(*upgrade, "channels_redis[cryptography]")
            environment.run("-m", "pip", "check")
            assert "channels_redis/utils.py" not in files_of(environment)
        for layer in ("core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"):
            monkeypatch.setenv("SHOP_LAYER", f"channels_redis.{layer}")
            monkeypatch.setenv("SHOP_PREFIX", f"{prefix}{version}{layer[:4]}")
            for command in ("check", "test"):
                run_ok(environment.python, "manage.py", command, cwd=site)
