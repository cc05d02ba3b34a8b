"""The conformance tests, on the layer that $CONTRACT_LAYER names, which must be installed.

pytest doesn't find this file by itself: `contract.run` names it.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from benchmarks.survey.services import service
from conformance.layer_case import ChannelLayer, LayerCase
from conformance.test_consumers import site
from conformance.test_processes import other
from conformance.variants import Variant
from contract.layers import LAYERS, Layer
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["other", "site"]

CONFORMANCE = Path(__file__).parents[1] / "conformance"


def conformance_tests() -> dict[str, Any]:
    """All tests by name, marked with what their whole module needs."""
    found: dict[str, Any] = {}
    for path in sorted(CONFORMANCE.glob("test_*.py")):
        module = import_module(f"conformance.{path.stem}")
        for name, function in vars(module).items():
            if name.startswith("test_") and function.__module__ == module.__name__:
                assert name not in found, f"there are two tests called {name}"
                for mark in getattr(module, "pytestmark", ()):
                    mark(function)
                found[name] = function
    return found


# pytest finds them here as well, and gives them the fixtures below.
globals().update(conformance_tests())


class ContractCase(LayerCase):
    """The layers of one test, with those of its options that they take."""

    def __init__(self, layer: Layer, config: dict[str, Any]) -> None:
        super().__init__(Variant(layer.name, layer.backend), config)
        self._options = layer.options

    def layer(self, **options: object) -> ChannelLayer:
        """A new layer. A test of an option that the layer hasn't is skipped."""
        # Without capacity, a layer takes whatever a test sends, or refuses it by its own measure.
        options = {k: v for k, v in options.items() if k in self._options or k != "capacity"}
        for name in options:
            if name not in self._options:
                pytest.skip(f"it has no option {name}")
        return super().layer(**options)

    async def close(self, *layers: ChannelLayer) -> None:
        """Close some layers in the way that each has for it, by default all."""
        for layer in layers or self._layers:
            if not hasattr(layer, "close_pools") and hasattr(layer, "close"):
                await within(layer.close())
            else:
                await super().close(layer)


@pytest.fixture(scope="session")
def contract_layer() -> Layer:
    """The layer that the contract is checked on."""
    return LAYERS[os.environ["CONTRACT_LAYER"]]


@pytest.fixture(scope="session")
def servers(contract_layer: Layer) -> Iterator[dict[str, Any]]:
    """Run the layer's server, and yield the options that name it."""
    if not contract_layer.server:
        yield {}
        return
    with service(contract_layer) as running:
        yield contract_layer.servers(running.hosts)


@pytest_asyncio.fixture
async def case(
    contract_layer: Layer, servers: dict[str, Any], prefix: str, request: pytest.FixtureRequest
) -> AsyncIterator[LayerCase]:
    """Yield a maker of layers that share a server, and find nothing of other tests on it."""
    for mark in request.node.iter_markers("needs"):
        for need in mark.args:
            if need in contract_layer.unmeasured:
                pytest.skip(contract_layer.unmeasured[need])
    config = dict(servers)
    if "prefix" in contract_layer.options:
        config["prefix"] = prefix
    case = ContractCase(contract_layer, config)
    yield case
    await case.close()


@pytest.fixture
def layer(case: LayerCase) -> ChannelLayer:
    """One layer with its own options."""
    return case.layer()
