"""The start of the programs here: the layer that their arguments name."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def make_layer(**limits: float) -> Any:
    """Return a layer of the class and at the server that the command line names."""
    module, _, name = sys.argv[1].rpartition(".")
    layer_class = getattr(importlib.import_module(module), name)
    return layer_class(hosts=[{"address": sys.argv[2], **limits}], capacity=100_000)


def say(*what: object) -> None:
    """Print a line for the test to read."""
    sys.stdout.write(" ".join(map(str, what)) + "\n")
    sys.stdout.flush()
