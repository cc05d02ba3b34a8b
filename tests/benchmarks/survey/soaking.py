"""Runs the soak of our layers, in an environment that has both."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.interpreters import REPOSITORY, python_with
from embedded_server import find_server


def soak(minutes: float) -> dict[str, Any]:
    """Let both layers work under faults for so long; return what `benchmarks.soak` wrote.

    Raises:
        subprocess.CalledProcessError: It did not come to its end; it has said why.
    """
    ours = [word for one in CONTENDERS.values() if one.ours for word in one.requirements]
    python = python_with("soak", ours)
    paths = os.pathsep.join(str(REPOSITORY / part) for part in ("tests", "docs/examples"))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        file = Path(folder) / "soak.json"
        command = [str(python), "-m", "benchmarks.soak", "--minutes", str(minutes)]
        done = subprocess.run(
            [*command, "--json", str(file)],
            env={**os.environ, "PYTHONPATH": paths, "REDIS_SERVER": find_server()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        # Its status, like its output, shows that something grew.
        if not file.exists():
            done.check_returncode()
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return told
