"""Check the contract of channel layers on ours and on others: `hatch run contract`.

Each layer has its own environment and its own server. A test that fails is run
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
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from benchmarks.survey.services import Absent, service
from contract.every_promise import conformance_tests
from contract.layers import LAYERS, Layer
from contract.report import tables
from support.installing import environment, versions_in

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ROOT = Path(__file__).parents[2]
# Seconds for each step of a test, which should take milliseconds: in the first run, and in the
# second one, which counts.
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
    """The versions and outcomes of one layer, or why there are none."""
    try:
        software = ""
        if layer.server:
            with service(layer) as running:
                software = running.software
        group = ("--group", f"{ROOT / 'pyproject.toml'}:contract")
        wanted = layer.python or sys.executable
        requirements = [*COMMON, *layer.requirements]
        python = environment(f"contract/{layer.name}", requirements, *group, wanted=wanted)
    except Absent as error:
        return {"unmeasured": str(error)}
    except subprocess.CalledProcessError as error:
        return {"unmeasured": f"it could not be installed: {str(error.stderr).strip()[:300]}"}
    versions = versions_in(python)
    asked = subprocess.run([python, "--version"], check=True, capture_output=True, text=True)
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": asked.stdout.split()[1],
        "system": platform.system(),
        "server": software,
        "versions": {name: versions[name] for name in layer.version_of},
        "tests": by_function(outcomes(layer, python)),
    }


def outcomes(layer: Layer, python: Path) -> dict[str, dict[str, str]]:
    """The outcome of each test, from a second run where the first one failed.

    Raises:
        RuntimeError: pytest itself failed; the message says what it wrote.
    """
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes.xml"
        for deadline in DEADLINES:
            # Those that failed before, or else all. Warnings of other projects don't matter here.
            settings = ("-o", f"cache_dir={folder}", "-o", "filterwarnings=ignore", "--timeout=90")
            words = ("-q", "-n", "4", "--last-failed", f"--junitxml={file}", *settings)
            done = subprocess.run(
                [str(python), "-m", "pytest", *words, "tests/contract/every_promise.py"],
                env={**os.environ, "CONTRACT_LAYER": layer.name, "CONFORMANCE_DEADLINE": deadline},
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
            )
            if done.returncode > 1 or not file.exists():
                raise RuntimeError(f"{layer.name}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
            cases = ET.parse(file).iter("testcase")  # noqa: S314 - it is our own
            # A test that ends its process leaves one without a name as well.
            found |= {name: outcome(case) for case in cases if (name := case.get("name"))}
            if all(one["outcome"] != "failed" for one in found.values()):
                break
    return found


def outcome(case: Element) -> dict[str, str]:
    """Return whether a test passed, and if not, why in one line."""
    for kind in ("failure", "error", "skipped"):
        part = case.find(kind)
        why = "" if part is None else part.get("message", "").strip().partition("\n")[0][:200]
        # The clean-up is not the contract's.
        if why and not why.startswith("failed on teardown"):
            return {"outcome": "skipped" if kind == "skipped" else "failed", "why": why}
    return {"outcome": "passed"}


def by_function(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The outcome of each test function: it passes if all of its cases do."""
    promises = {
        name: mark.args[0].name
        for name, test in conformance_tests().items()
        for mark in test.pytestmark
        if mark.name == "promise"
    }
    order = ("skipped", "passed", "failed")
    functions: dict[str, dict[str, str]] = {}
    for case, result in sorted(found.items(), key=lambda one: order.index(one[1]["outcome"])):
        name = case.partition("[")[0]
        functions[name] = {"promise": promises[name], **result}
    return dict(sorted(functions.items()))


if __name__ == "__main__":
    sys.exit(main())
