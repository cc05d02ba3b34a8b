"""A few seconds of hostile data in each thing that the layers read from Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuzz.catalogue import TARGETS
from fuzz.fuzzing import fuzz, shares

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from fuzz.targets import Target

INPUTS = 2000


@pytest.mark.parametrize(
    ("target", "count"),
    [
        pytest.param(target, count, id=f"{layer}-{target.name}")
        for layer in TARGETS
        for target, count in shares(layer, INPUTS).items()
    ],
)
async def test_hostile_data(target: type[Target], count: int, own_server: EmbeddedServer) -> None:
    """No `receive` raises, nothing hangs, memory is bounded, and so is the log."""
    await fuzz(own_server, target, "the suite", count)
