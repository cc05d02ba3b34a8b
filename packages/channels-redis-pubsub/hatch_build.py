"""Build hook: stop a build whose vendored module was not checked out as a link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HELP = """\
{shared} is no directory, so this package would be built without the module it vendors.
It is a symbolic link to a directory of this repository, and your checkout does not keep links
as links, or holds this folder alone. Clone the whole repository anew, with links:
  git clone -c core.symlinks=true <the repository>
(on Windows, turn on Developer Mode first). Or build from the sdist, which holds real files."""


class SharedModuleHook(BuildHookInterface[BuilderConfig]):
    """Checks that `_shared` is a directory with a module in it, as a link or as real files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Stop with instructions if the vendored module is missing."""
        shared = Path(self.root, "src", self.metadata.core.name.replace("-", "_"), "_shared")
        if not (shared / "__init__.py").is_file():
            self.app.abort(HELP.format(shared=shared))
