"""Check the contract of channel layers on ours and on others: `hatch run contract`.

Each layer has an environment of its own, made with uv, and its own server. A test that fails is run
once more, and that outcome counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.survey.services import Absent, service
from contract.layers import LAYERS, Layer
from contract.report import tables
from support.installing import environment, versions_in

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
# Seconds for each step of a test, which should take milliseconds: in the first run, and in the
# second one, whose outcome counts.
DEADLINES = ("5", "25")
COMMON = ("redis>=5", "msgpack>=1", "cryptography>=42")


def main() -> int:
    """Run the layers that the arguments name, and write the table."""
    parser = argparse.ArgumentParser(prog="hatch run contract", description=__doc__)
    parser.add_argument("layers", nargs="*", metavar="LAYER", help=f"of {', '.join(LAYERS)}")
    parser.add_argument("--json", type=Path, default=ROOT / "docs/contract.json", metavar="FILE")
    options = parser.parse_args()
    unknown = set(options.layers) - LAYERS.keys()
    if unknown:
        parser.error(f"there is no layer {min(unknown)!r}; there are {', '.join(LAYERS)}")
    chosen = options.layers or list(LAYERS)
    run: dict[str, Any] = {"layers": {}}
    if options.layers and options.json.exists():
        # The others' outcomes stay.
        run = json.loads(options.json.read_text(encoding="utf-8"))
    for name in chosen:
        sys.stderr.write(f"{name}…\n")
        run["layers"][name] = checked(LAYERS[name])
    run["layers"] = {name: run["layers"][name] for name in LAYERS if name in run["layers"]}
    options.json.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{tables(run)}\n")
    return 0


def checked(layer: Layer) -> dict[str, Any]:
    """Return the versions and outcomes of one layer, or why there are none."""
    try:
        software = ""
        if layer.server:
            with service(layer) as running:
                software = running.software
        group = ("--group", f"{ROOT / 'pyproject.toml'}:contract")
        python = environment(
            f"contract/{layer.name}",
            [*COMMON, *layer.requirements],
            *group,
            wanted=layer.python or sys.executable,
        )
    except Absent as error:
        return {"unmeasured": str(error)}
    except subprocess.CalledProcessError as error:
        return {"unmeasured": f"it could not be installed: {str(error.stderr).strip()[:300]}"}
    versions = versions_in(python)
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": interpreter_version(python),
        "system": platform.system(),
        "server": software,
        "versions": {name: versions[name] for name in layer.version_of},
        "tests": by_function(outcomes(layer, python)),
    }


def in_environment(
    python: Path, *words: str, deadline: str = DEADLINES[0]
) -> subprocess.CompletedProcess[str]:
    """Run its Python on the tests' modules."""
    paths = (str(TESTS), str(ROOT / "docs/examples"))
    return subprocess.run(
        [str(python), *words],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "CONFORMANCE_DEADLINE": deadline,
        },
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )


def interpreter_version(python: Path) -> str:
    """Return its version."""
    command = "import platform; print(platform.python_version())"
    return in_environment(python, "-c", command).stdout.strip()


def outcomes(layer: Layer, python: Path) -> list[dict[str, Any]]:
    """Return the outcome of each test, from a second run where the first one failed."""
    file = "tests/contract/every_promise.py"
    found = {one["id"]: one for one in pytest_run(layer, python, file, "--collect-only")}
    for deadline in DEADLINES:
        left = [test for test, one in found.items() if one["outcome"] == "failed"]
        sys.stderr.write(f"  {len(left)} of {len(found)} are run\n")
        # Tests that end their process take those with them that it was to run.
        words = [file] if len(left) == len(found) else left
        told = pytest_run(layer, python, *words, "-n", "4", deadline=deadline) if left else []
        found.update({one["id"]: one for one in told})
    return list(found.values())


def pytest_run(
    layer: Layer, python: Path, *words: str, deadline: str = DEADLINES[0]
) -> list[dict[str, Any]]:
    """Run some tests; return their outcomes.

    Raises:
        RuntimeError: There are none; the message says what pytest wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes.json"
        # Warnings of other projects are none of the contract's business.
        settings = ("-q", "-p", "no:cacheprovider", "-o", "filterwarnings=ignore", "--timeout=90")
        ours = ("-p", "contract.recording", "--layer", layer.name, "--outcomes", str(file))
        done = in_environment(python, "-m", "pytest", *settings, *ours, *words, deadline=deadline)
        told: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    if not told:
        raise RuntimeError(f"{layer.name}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return told


def by_function(told: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the outcome of each test function: it passes if all of its cases do."""
    functions: dict[str, dict[str, str]] = {}
    for one in sorted(told, key=lambda one: ("passed", "skipped", "failed").index(one["outcome"])):
        name = one["id"].rpartition("::")[2].partition("[")[0]
        if one["outcome"] == "skipped" and name in functions:
            continue
        functions[name] = {key: one[key] for key in ("promise", "outcome", "why") if key in one}
    return dict(sorted(functions.items()))


if __name__ == "__main__":
    sys.exit(main())
