"""Software of its own for a test or a benchmark: uv installs it into a folder that is kept."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from uv import find_uv_bin

FOLDER = Path(__file__).parents[2] / ".environments"


def uv(*command: str | Path) -> str:
    """Run uv; return what it printed.

    Raises:
        subprocess.CalledProcessError: It failed; what it wrote to stderr is in the error.
    """
    settings = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    # Without this process's environment.
    inherited = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [find_uv_bin(), *command],
        env={**inherited, **settings},
        check=True,
        capture_output=True,
        text=True,
        errors="replace",
    )
    return done.stdout
