"""Compare our layers with channels_redis: `hatch run benchmark:compare`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import pstats
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.catalogue import OURS, THEIRS, works
from benchmarks.report import Outcome, table
from embedded_server import EmbeddedServer

if TYPE_CHECKING:
    from benchmarks.catalogue import Work

TIMEOUT = 60.0  # seconds for one run of one workload
PROFILE_LINES = 40
THEIR_VERSION = "4.3.0"


def main() -> int:
    """Measure what the arguments ask for, write it out, and return the exit status."""
    options = parse()
    try:
        chosen = works([options.layer] if options.layer else list(OURS), options.only)
    except ValueError as error:
        sys.exit(f"benchmark: {error}")
    with EmbeddedServer() as server:
        conditions = conditions_of(server)
        if options.profile:
            for layer, work in chosen:
                profile((THEIRS if options.self_check else OURS)[layer], work, server)
            return 0
        outcomes = [compare(layer, work, server, options) for layer, work in chosen]
    if options.json:
        sys.stdout.write(json.dumps([outcome.figures() for outcome in outcomes], indent=2) + "\n")
    else:
        sys.stdout.write(f"{conditions}\n\n{table(outcomes)}\n")
    enough = all(outcome.good or (outcome.ours and options.no_floors) for outcome in outcomes)
    return 0 if enough else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run benchmark:compare", description=__doc__)
    parser.add_argument("--layer", choices=list(OURS), help="one layer instead of both")
    parser.add_argument("--only", action="append", metavar="NAME", help="this work; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (%(default)s)")
    parser.add_argument("--json", action="store_true", help="every figure, instead of the table")
    parser.add_argument(
        "--no-floors", action="store_true", help="a ratio below its floor is no failure"
    )
    parser.add_argument(
        "--self-check",
        action="store_true",
        help="channels_redis in place of ours: what is not 1.00x then is noise",
    )
    parser.add_argument(
        "--profile", action="store_true", help="show where our own time goes, and measure nothing"
    )
    return parser.parse_args()


def conditions_of(server: EmbeddedServer) -> str:
    """Return the versions of both sides, after checking that they are the intended ones."""
    try:
        theirs, hiredis, redis_py = map(version, ("channels_redis", "hiredis", "redis"))
    except PackageNotFoundError as error:
        sys.exit(f"benchmark: {error}; run it as `hatch run benchmark:compare`")
    if theirs != THEIR_VERSION:
        sys.exit(f"benchmark: channels_redis is {theirs}, not {THEIR_VERSION}")
    with server.client() as client:
        info = client.info("server")
    return (
        f"channels_redis {theirs}; redis-py {redis_py}, hiredis {hiredis}, "
        f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}, "
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )


def compare(layer: str, work: Work, server: EmbeddedServer, options: argparse.Namespace) -> Outcome:
    """Run the work on each side in turn, for the given number of rounds."""
    theirs, ours = THEIRS[layer], (THEIRS if options.self_check else OURS)[layer]
    outcome = Outcome(work, layer, theirs=[], ours=[])
    rounds = min(options.rounds, work.most_rounds)
    for done in range(rounds):
        sys.stderr.write(f"{layer} {work.name}: round {done + 1} of {rounds}\n")
        try:
            pair = run_worker(theirs, work, server), run_worker(ours, work, server)
        except subprocess.SubprocessError as error:
            # The worker has told why. What the other work comes to is still worth knowing.
            sys.stderr.write(f"{layer} {work.name}: {error}\n")
            return Outcome(work, layer, theirs=[], ours=[])
        outcome.theirs.append(pair[0])
        outcome.ours.append(pair[1])
    return outcome


def run_worker(layer_class: str, work: Work, server: EmbeddedServer, *more: str) -> float:
    """Run the work in a new process, on the emptied server, and return its figure.

    Raises:
        subprocess.SubprocessError: It failed, or took longer than `TIMEOUT`.
    """
    with server.client() as client:
        client.flushall()
    worker = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", layer_class, server.url, work.name, *more],
        stdout=subprocess.PIPE,
        check=True,
        timeout=TIMEOUT,
    )
    return float(worker.stdout)


def profile(layer_class: str, work: Work, server: EmbeddedServer) -> None:
    """Run the work once under cProfile and show the functions that took most of the time."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "profile")
        run_worker(layer_class, work, server, file)
        stats = pstats.Stats(file)
    sys.stdout.write(f"{work.title} on {layer_class}\n")
    stats.sort_stats("tottime").print_stats(PROFILE_LINES)


if __name__ == "__main__":
    sys.exit(main())
