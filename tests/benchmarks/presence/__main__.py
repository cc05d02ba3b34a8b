"""Show what presence does and costs: `hatch run benchmark:presence`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions
from benchmarks.presence.fleet import LAYERS, Plan
from benchmarks.presence.report import SERVERS, broken, table
from benchmarks.presence.trials import run
from benchmarks.survey.services import redis_service


def main() -> int:
    """Try what the arguments ask for, show it, and return the exit status."""
    options = parse()
    plan = Plan()
    found: dict[str, Any] = {"conditions": conditions(), "rows": []}
    rows: list[dict[str, Any]] = found["rows"]
    status = 0
    for servers in options.servers:
        shards = 3 if servers == "shards" else 1
        with redis_service(shards=shards, cluster=servers == "cluster") as service:
            found["conditions"]["servers"] = service.software
            for layer in options.layers:
                sys.stderr.write(f"{layer}, {SERVERS[servers]}\n")
                figures = asyncio.run(run(layer, service, plan))
                rows.append({"layer": layer, "servers": servers, "figures": figures})
                for problem in broken(figures):
                    status = 1
                    sys.stderr.write(f"{layer}, {SERVERS[servers]}: {problem}\n")
                rows.sort(key=lambda row: list(LAYERS).index(row["layer"]))
                if options.json:
                    options.json.write_text(document(found), encoding="utf-8")
    sys.stdout.write(f"{table(rows)}\n")
    return status


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run benchmark:presence", description=__doc__)
    parser.add_argument("--layers", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures in this file")
    return parser.parse_args()


def document(found: dict[str, Any]) -> str:
    """Return all figures as JSON, with a line for each row, as tools compare files by lines."""
    rows = ",\n".join(json.dumps(row) for row in found["rows"])
    return f'{{"conditions": {json.dumps(found["conditions"])},\n"rows": [\n{rows}\n]}}\n'


if __name__ == "__main__":
    sys.exit(main())
