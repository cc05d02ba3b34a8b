"""The costs of a package: its download, and the time of its import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.builds import PACKAGES

if TYPE_CHECKING:
    from .conftest import Built

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

# KB of 1024 bytes: a tenth above what is there, so that only a file by mistake is noticed.
WHEEL_LIMITS = {"channels-redis": 9, "channels-redis-pubsub": 179, "channels-redis-queue": 220}


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_is_small(built: dict[str, Built], package: str) -> None:
    """A package's wheel stays below its limit."""
    size = built[package].wheel_from_tree.stat().st_size / 1024
    assert size < WHEEL_LIMITS[package], f"{package}: {size:.1f} KB"
