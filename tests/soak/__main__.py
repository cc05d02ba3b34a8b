"""Break things around a channel layer, and check the history of all messages afterwards."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from soak.checker import check
from soak.deployments import NAMES
from soak.history import read
from soak.layers import CLASSES, is_foreign
from soak.run import Choices, Plan, soak
from soak.sabotage import KINDS
from support.installing import channels_redis_4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soak.checker import Violation
    from soak.run import Result

SHOWN = 20  # violations
SHORTEST = 1.0  # minutes


def main() -> int:
    """Run the soak, print its result, and return the exit status."""
    options = parse()
    if options.check:
        violations = check(read(options.check))
        sys.stdout.write("".join(f"{line}\n" for line in lines_of(violations)))
        return 1 if violations else 0
    as_given = ("layer", "deployment", "seed", "sabotage", "recovery")
    choices = Choices(
        plan=Plan.of(options.minutes),
        nemesis=[name.strip() for name in options.nemesis.split(",") if name.strip()],
        **{name: getattr(options, name) for name in as_given},
    )
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = asyncio.run(run_until_stopped(choices, folder))
        except asyncio.CancelledError:
            sys.stderr.write("soak: stopped\n")
            return 130
    if options.json:
        with options.json.open("a") as file:
            file.write(json.dumps({**result.summary(), "minutes": options.minutes}) + "\n")
    sys.stdout.write(report(result))
    return 1 if result.violations else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run soak", description=__doc__)
    add = parser.add_argument
    add("--layer", choices=list(CLASSES), default="queue", help="default: %(default)s")
    add("--deployment", choices=NAMES, default="one", help="default: %(default)s")
    add("--minutes", type=float, default=5, help="how long (%(default)s)")
    add("--seed", type=int, default=1, help="decides which faults come when (%(default)s)")
    add("--nemesis", default="", metavar="FAULT,…", help="these faults alone")
    add("--sabotage", choices=KINDS, default="", help="break one message in a thousand")
    add("--recovery", action="store_true", help="with browsers that resume groups with a history")
    add("--json", type=Path, metavar="FILE", help="append a line with the result")
    add("--keep", type=Path, metavar="FOLDER", help="leave the journals there")
    add("--check", type=Path, metavar="FOLDER", help="run nothing, but check the journals there")
    options = parser.parse_args()
    if options.minutes < SHORTEST:
        parser.error(f"--minutes must be at least {SHORTEST}")
    if options.recovery and is_foreign(options.layer):
        parser.error("channels_redis 4 has no groups with a history: leave --recovery out")
    if os.name != "posix":
        parser.error("processes are stopped by signals, which this system has not")
    return options


async def run_until_stopped(choices: Choices, folder: Path) -> Result:
    """Run the soak; Ctrl-C and SIGTERM cancel it, which ends all that it started."""
    python = channels_redis_4() if is_foreign(choices.layer) else None
    running = asyncio.ensure_future(soak(choices, folder, python))
    for kind in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(kind, running.cancel)
    return await running


def report(result: Result) -> str:
    """Describe the result of a soak for people."""
    summary = result.summary()
    lines = [
        f"{name}: {', '.join(f'{k} {v}' for k, v in value.items()) or 'none'}"
        if isinstance(value, dict)
        else f"{name}: {value}"
        for name, value in summary.items()
    ]
    return "\n".join([*lines, *lines_of(result.violations)]) + "\n"


def lines_of(violations: Sequence[Violation]) -> list[str]:
    """Return a line for each of the first violations."""
    lines = [f"  {one.at:.3f} {one.promise}: {one.what}" for one in violations[:SHOWN]]
    if len(violations) > SHOWN:
        lines.append(f"  and {len(violations) - SHOWN} more")
    return lines


if __name__ == "__main__":
    sys.exit(main())
