"""Imports every module of the package named on the command line, in a new environment."""

from __future__ import annotations

import importlib
import pkgutil
import sys

package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
