"""Feed the layers hostile data for minutes: `hatch run fuzz`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[0:1] = [str(TESTS), str(TESTS.parent / "docs/examples")]

from embedded_server import EmbeddedServer  # noqa: E402 - only now it is found
from fuzz.catalogue import KINDS  # noqa: E402
from fuzz.fuzzing import fuzz, shares  # noqa: E402
from fuzz.watch import Violation  # noqa: E402


def main() -> int:
    """Fuzz what the arguments name; return 1 if a layer did what it must not do."""
    parser = argparse.ArgumentParser(prog="hatch run fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=50_000, help="for each layer (50000)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="by default another each time")
    parser.add_argument("--layer", choices=list(KINDS), help="this layer alone")
    parser.add_argument("--target", help="this kind of data alone, such as messages")
    options = parser.parse_args()
    if options.inputs < 1:
        parser.error("--inputs must be at least 1")
    names = {kind.name for kinds in KINDS.values() for kind in kinds}
    if options.target and options.target not in names:
        parser.error(f"there is no target {options.target!r}; there are {', '.join(sorted(names))}")
    # They are counted, not shown.
    logging.lastResort = None
    violations = 0
    for layer in [options.layer] if options.layer else KINDS:
        fed = 0
        for kind, count in shares(layer, options.inputs).items():
            if options.target not in {None, kind.name}:
                continue
            began = time.monotonic()
            try:
                with EmbeddedServer() as server:
                    asyncio.run(fuzz(server, kind, options.seed, count))
            except Violation as violation:
                violations += 1
                write(f"{layer}: {violation}")
            else:
                fed += count
                write(f"{layer}: {kind.name}: {count} inputs, {time.monotonic() - began:.0f} s")
        write(f"{layer}: {fed} inputs of seed {options.seed}")
    write(f"{violations} violations")
    return int(violations > 0)


def write(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
