"""A few seconds of hostile data in each thing that the layers read from Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuzz.catalogue import KINDS
from fuzz.fuzzing import fuzz, shares

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from fuzz.catalogue import Kind

INPUTS = 2000


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        pytest.param(kind, count, id=f"{layer}-{kind.name}")
        for layer in KINDS
        for kind, count in shares(layer, INPUTS).items()
    ],
)
async def test_hostile_data(kind: Kind, count: int, own_server: EmbeddedServer) -> None:
    """No `receive` raises, nothing hangs, memory is bounded, and so is the log."""
    await fuzz(own_server, kind, "the suite", count)
