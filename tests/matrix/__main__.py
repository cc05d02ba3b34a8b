"""Runs the tests of the contract with each two versions that can be installed together.

One environment for each combination, made by uv and kept in `.environments/matrix`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from matrix import environment
from matrix.combinations import PYTHONS, REDIS_PY, SERVERS, combinations
from matrix.environment import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrix.combinations import Combination

# Both layers, and TLS; and with --quick, with protocol 2 and 3 and nothing else.
ALL = "(queue or pubsub or tls)"
QUICK = f"{ALL} and not shards and not encrypted and not json and not unix and not cluster"
# What a server lacks: before Redis 7, a Cluster of the kind that the tests make, and SSUBSCRIBE.
LACKS = {"redis-6.2": "not cluster and not sharded"}
# What is run with the lowest versions: all that meets other packages, each kind of server once.
LOWEST = (
    "--numprocesses=4",
    "--dist=worksteal",
    # On Python 3.10, pytest-asyncio leaves a loop open after a test that runs one of its own.
    "-Wignore::ResourceWarning",
    "tests/conformance",
    "tests/ops",
    "tests/pubsub",
    "tests/queue",
    "tests/unit",
    # It needs OpenTelemetry's SDK.
    "--ignore=tests/ops/test_telemetry.py",
    "-k",
    "not shards and not cluster and not unix",
)
SECONDS = 1800  # that the tests of one combination may take
HEAD = ("Python", "redis-py", "hiredis", "Channels", "Django", "server", "result")


@dataclass(frozen=True)
class Result:
    """What came of one combination."""

    cells: tuple[str, ...]
    passed: bool


def run(combination: Combination, machine: Machine, *, quick: bool) -> Result:
    """Run the tests of the contract; what keeps them from running fails this row alone."""
    try:
        return run_tests(combination, machine, quick=quick)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows still count
        say(f"{combination}: could not be run: {error!r}\n{traceback.format_exc()}")
        cells = (combination.python, *("",) * (len(HEAD) - 2), "could not be run")
        return Result(cells, passed=False)


def run_tests(combination: Combination, machine: Machine, *, quick: bool) -> Result:
    """Run the tests of the contract in an environment of their own."""
    server = machine.servers[combination.server]
    try:
        interpreter = environment.make(combination, machine.pythons[combination.python])
    except subprocess.CalledProcessError as error:
        say(f"{combination}: could not be installed\n{error.stderr}")
        cells = (combination.python, *("",) * (len(HEAD) - 2), "could not be installed")
        return Result(cells, passed=False)
    began = time.monotonic()
    tests = " and ".join(filter(None, (QUICK if quick else ALL, LACKS.get(combination.server))))
    command = [
        str(interpreter),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/conformance",
        # What it means by default was another thing in redis-py 5.
        "tests/deployments/test_tls.py",
    ]
    ran = subprocess.run(
        [*command, "-k", tests],
        cwd=environment.REPOSITORY,
        env={**os.environ, "REDIS_SERVER": server, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    counts = re.findall(r"^.*\b\d+ (?:passed|failed|error).*$", ran.stdout, re.MULTILINE)
    passed = ran.returncode == 0 and bool(counts)
    result = re.sub(r" in .*|=", "", counts[-1]).strip() if counts else "ran no test"
    say(f"{combination}: {result} after {time.monotonic() - began:.0f} s")
    if not passed:
        say(ran.stdout[-5000:] + ran.stderr[-2000:])
    versions = environment.installed_versions(interpreter)
    cells = (combination.python, *versions.values(), environment.version_of(server), result)
    return Result(cells, passed)


def run_lowest(machine: Machine) -> int:
    """Run tests with the lowest versions that the packages declare; return the exit status."""
    python = next(iter(machine.pythons))
    interpreter = environment.make_lowest(machine.pythons[python])
    declared = environment.floors()
    found = environment.installed_versions(interpreter, declared)
    installed = {name: version for name, version in found.items() if version != "-"}
    say("\n".join(f"{name} {version}" for name, version in installed.items()))
    # uv takes a higher one, and says nothing, where another package needs it.
    higher = [name for name in installed if Version(installed[name]) > Version(declared[name])]
    if higher:
        say(f"Not the lowest that the packages declare: {', '.join(higher)}")
        return 1
    command = [str(interpreter), "-m", "pytest", "-p", "no:cacheprovider", *LOWEST]
    ran = subprocess.run(
        command,
        cwd=environment.REPOSITORY,
        env={**os.environ, "PYTHONPATH": ""},
        timeout=SECONDS,
        check=False,
    )
    return ran.returncode


def print_table(results: Sequence[Result]) -> None:
    """Print what passed where."""
    rows = [HEAD, *(result.cells for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows]
    lines.insert(1, f"| {' | '.join('-' * width for width in widths)} |")
    say("\n".join(["", *lines]))


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(prog="hatch run matrix:run", description=__doc__)
    parser.add_argument("--all", action="store_true", help="name all, also what is missing here")
    parser.add_argument("--list", action="store_true", help="name the combinations, run nothing")
    parser.add_argument("--plan", action="store_true", help="list them for the workflow's next job")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of combinations in the list")
    parser.add_argument("--sample", action="store_true", help="one for each redis-py")
    parser.add_argument(
        "--lowest", action="store_true", help="the lowest that the packages declare"
    )
    parser.add_argument("--quick", action="store_true", help="one host and no encryption alone")
    parser.add_argument("--jobs", type=int, default=1, help="how many to run at a time")
    return parser.parse_args()


def main() -> int:
    """Return 0 if all tests passed that were run, and some were."""
    arguments = parse()
    lists = arguments.list or arguments.plan
    machine = None if arguments.all and lists else Machine()
    if arguments.lowest:
        return run_lowest(Machine())
    axes = (PYTHONS, SERVERS) if arguments.all or machine is None else machine.axes
    chosen = list(enumerate(combinations(*axes), 1))
    if arguments.sample:
        chosen = sample(chosen, axes[0])
    if arguments.only:
        chosen = [(number, one) for number, one in chosen if number in arguments.only]
    if machine is None or lists:
        list_all(chosen, plan=arguments.plan)
        return 0
    return run_all([one for _, one in chosen], machine, arguments)


def list_all(chosen: Sequence[tuple[int, Combination]], *, plan: bool) -> None:
    """Print the combinations; or write them where GitHub reads what a step puts out."""
    if not plan:
        say("\n".join(f"{number}: {one}" for number, one in chosen))
        return
    named = [{"number": n, "python": one.python, "name": str(one)} for n, one in chosen]
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"combinations={json.dumps(named)}\n")


def run_all(chosen: Sequence[Combination], machine: Machine, arguments: argparse.Namespace) -> int:
    """Run the combinations and print the table; return the exit status."""
    for what in machine.missing:
        say(f"Not here: {what}")
    runnable = [one for one in chosen if machine.has(one)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        tasks = [pool.submit(run, one, machine, quick=arguments.quick) for one in runnable]
        results = [task.result() for task in tasks]
    print_table(results)
    passed = sum(result.passed for result in results)
    skipped = len(chosen) - len(runnable)
    say(f"\n{passed} passed, {len(results) - passed} failed, {skipped} skipped")
    return 0 if results and passed == len(results) else 1


def sample(
    numbered: Sequence[tuple[int, Combination]], pythons: Sequence[str]
) -> list[tuple[int, Combination]]:
    """Return one combination for each redis-py, with as many Pythons as there are."""
    last = len(REDIS_PY) - 1
    wanted = [
        (redis_py, pythons[position * (len(pythons) - 1) // last])
        for position, redis_py in enumerate(REDIS_PY)
    ]
    first = {(one.redis_py, one.python): (number, one) for number, one in reversed(numbered)}
    return [first[pair] for pair in wanted]


if __name__ == "__main__":
    sys.exit(main())
