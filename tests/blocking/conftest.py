"""Runs whole programs that use a layer, and looks at what they leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from support import programs
from support.layers import layer_class, make_layer

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.layers import LayerClass

__all__ = ["layer_class", "make_layer"]

PROGRAMS = Path(__file__).parent / "programs"


class RunProgram(Protocol):
    """Runs a program to its end."""

    def __call__(self, name: str, *arguments: str) -> list[str]:
        """Return the lines that `programs/<name>.py` prints; fail unless all else is clean."""


@pytest.fixture
def run_program(own_server: EmbeddedServer, layer_class: LayerClass) -> RunProgram:
    """Return a function that runs a program with a layer, with warnings as errors.

    The program gets the layer's class and the server's URL as its first arguments. It must end by
    itself with status 0 and write nothing to stderr: no warning, no task that was destroyed.
    """

    def run(name: str, *arguments: str) -> list[str]:
        path = str(PROGRAMS / f"{name}.py")
        layer = f"{layer_class.__module__}.{layer_class.__name__}"
        done = programs.run(path, layer, own_server.url, *arguments)
        assert done.err == ""
        assert done.status == 0, done.out
        return done.out.splitlines()

    return run
