"""Imports every module of the package named on the command line; prints what it found as JSON.

Runs in an environment of its own, which has the package and its dependencies only.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from importlib.metadata import distributions, version
from pathlib import Path

package = sys.argv[1]
module = importlib.import_module(package.replace("-", "_"))
imported = [
    importlib.import_module(found.name).__name__
    for found in pkgutil.walk_packages(module.__path__, f"{module.__name__}.")
    if not found.name.endswith("__main__")
]
print(
    json.dumps(
        {
            "version": version(package),
            "__version__": module.__version__,
            "imported": imported,
            "py.typed": Path(module.__path__[0], "py.typed").is_file(),
            "ours": sorted(
                {
                    dist.metadata["Name"].replace("_", "-")
                    for dist in distributions()
                    if dist.metadata["Name"].replace("_", "-").startswith("channels-redis")
                }
            ),
        }
    )
)
