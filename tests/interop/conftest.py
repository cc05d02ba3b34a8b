"""Two processes on the same servers: one with our layer, one with that of `channels_redis` 4."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from support.fleet import OURS, Fleet, fleet_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "encrypted": {"symmetric_encryption_keys": ["the new key", "the old key"]},
    "json": {"serializer_format": "json"},
    "two-hosts": {"shards": 2},
}


@pytest.fixture(scope="module", params=SETTINGS)
def settings(
    request: pytest.FixtureRequest, redis_shards: tuple[EmbeddedServer, ...]
) -> dict[str, Any]:
    """Return options that both layers take."""
    options = dict(SETTINGS[request.param])
    shards = options.pop("shards", 1)
    prefix = f"test-{secrets.token_hex(6)}-"
    return {"hosts": [server.url for server in redis_shards[:shards]], "prefix": prefix, **options}


@pytest.fixture(scope="module", params=OURS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return each of the two layers in turn."""
    chosen: str = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(kind: str, settings: dict[str, Any]) -> AsyncIterator[Fleet]:
    """Yield two processes; tests share them, and use different names."""
    async with fleet_of(kind, settings) as fleet:
        yield fleet
