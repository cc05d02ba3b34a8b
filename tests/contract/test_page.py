"""The tables of the contract are those of the run, and all tests name a promise."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

from conformance.promises import FORCES, Promise
from contract.layers import LAYERS
from contract.report import tables

DOCS = Path(__file__).parents[2] / "docs"
CONFORMANCE = Path(__file__).parents[1] / "conformance"
RUN = json.loads((DOCS / "contract.json").read_text(encoding="utf-8"))


def test_page_has_the_tables_of_the_run() -> None:
    """Word by word; `hatch run contract` prints them."""
    assert tables(RUN) in (DOCS / "contract.md").read_text(encoding="utf-8")


def test_run_has_all_layers() -> None:
    """Each with its tests, or with the reason why there are none."""
    assert RUN["layers"].keys() == LAYERS.keys()
    for layer in RUN["layers"].values():
        assert layer.keys() == {"unmeasured"} or len(layer["tests"]) > 100


@pytest.mark.parametrize("module", sorted(path.stem for path in CONFORMANCE.glob("test_*.py")))
def test_each_test_names_its_promise(module: str) -> None:
    """With the marker that `checks` makes, on the test or on its module."""
    found = import_module(f"conformance.{module}")
    for name, test in vars(found).items():
        if name.startswith("test_") and isinstance(test, FunctionType):
            marks = [*getattr(found, "pytestmark", ()), *getattr(test, "pytestmark", ())]
            [promise] = [mark.args[0] for mark in marks if mark.name == "promise"]
            assert isinstance(promise, Promise), name


def test_each_promise_is_checked() -> None:
    """By at least one test."""
    tests = RUN["layers"]["queue"]["tests"].values()
    assert {one["promise"] for one in tests} == {
        promise.name for promises in FORCES.values() for promise in promises
    }
