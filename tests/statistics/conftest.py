"""Layers whose statistics are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from deployments.layers import LAYERS, Layers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deployments.layers import LayerClass


@pytest_asyncio.fixture
async def layers() -> AsyncIterator[Layers]:
    """Give a maker of layers, which are closed after the test."""
    made = Layers()
    yield made
    await made.close()


@pytest.fixture(params=LAYERS, ids=lambda layer: layer.__name__)
def layer_class(request: pytest.FixtureRequest) -> LayerClass:
    """Give each of the two layers' classes in turn."""
    chosen: LayerClass = request.param
    return chosen
