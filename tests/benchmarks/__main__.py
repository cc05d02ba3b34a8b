"""Compare our layers with channels_redis: `hatch run benchmark:compare`."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from benchmarks.catalogue import OURS, THEIRS, works
from benchmarks.report import Outcome, table
from benchmarks.survey.services import RedisService
from embedded_server import EmbeddedServer

if TYPE_CHECKING:
    from benchmarks.catalogue import Work

TIMEOUT = 60.0  # seconds for one run of one workload
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
        outcomes = [compare(layer, work, server, options) for layer, work in chosen]
    sys.stdout.write(f"{conditions}\n\n{table(outcomes)}\n")
    return 0 if all(outcome.good for outcome in outcomes) else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run benchmark:compare", description=__doc__)
    parser.add_argument("--layer", choices=list(OURS), help="one layer instead of both")
    parser.add_argument("--only", action="append", metavar="NAME", help="this work; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (%(default)s)")
    parser.add_argument(
        "--self-check",
        action="store_true",
        help="channels_redis in place of ours: what is not 1.00x then is noise",
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
    return (
        f"channels_redis {theirs}; redis-py {redis_py}, hiredis {hiredis}, "
        f"{RedisService([server], []).software}, "
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


def run_worker(layer_class: str, work: Work, server: EmbeddedServer) -> float:
    """Run the work in a new process, on the emptied server, and return its figure.

    Raises:
        subprocess.SubprocessError: It failed, or took longer than `TIMEOUT`.
    """
    with server.client() as client:
        client.flushall()
    worker = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", layer_class, server.url, work.name],
        stdout=subprocess.PIPE,
        check=True,
        timeout=TIMEOUT,
    )
    return float(worker.stdout)


if __name__ == "__main__":
    sys.exit(main())
