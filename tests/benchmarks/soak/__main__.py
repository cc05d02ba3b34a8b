"""Soak both layers: joins, leaves, sends and kills, and nothing may grow by them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.catalogue import OURS
from benchmarks.soak.figures import is_supported
from benchmarks.soak.plan import plan
from benchmarks.soak.report import document, progress, table
from benchmarks.soak.soaking import Soak
from embedded_server import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST = 0.1  # minutes


def main() -> int:
    """Run the soak, print its result, and return the exit status."""
    options = parse()
    chosen = plan(options.minutes)
    soaks = [Soak(layer, chosen) for layer in ([options.layer] if options.layer else OURS)]
    if not chosen.tells_of_leaks:
        sys.stderr.write("soak: too short to tell of leaks; that takes 4 minutes or more\n")
    with ExitStack() as stack:
        servers = [stack.enter_context(EmbeddedServer()) for _ in soaks]
        try:
            asyncio.run(run_until_stopped(soaks, servers))
        except asyncio.CancelledError:
            sys.stderr.write("\nsoak: stopped\n")
            return 130
        if options.json:
            told = document(soaks, options.minutes, servers[0])
            options.json.write_text(json.dumps(told) + "\n")
    sys.stdout.write(f"{table(soaks)}\n")
    return 0 if all(soak.good for soak in soaks) else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run benchmark:soak", description=__doc__)
    parser.add_argument("--layer", choices=list(OURS), help="one layer instead of both at once")
    parser.add_argument("--minutes", type=float, default=10, help="how long (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    if options.minutes < SHORTEST:
        parser.error(f"--minutes must be at least {SHORTEST}")
    if not is_supported():
        parser.error("the figures of a process are read from /proc, which this system has not")
    return options


async def run_until_stopped(soaks: Sequence[Soak], servers: Sequence[EmbeddedServer]) -> None:
    """Run all soaks at once; Ctrl-C and SIGTERM cancel them, which ends all that they started."""
    running = asyncio.ensure_future(run(soaks, servers))
    for kind in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(kind, running.cancel)
    await running


async def run(soaks: Sequence[Soak], servers: Sequence[EmbeddedServer]) -> None:
    """Run all soaks at once; when one fails, or this is cancelled, all end."""
    telling = asyncio.create_task(tell(soaks))
    running = [
        asyncio.create_task(soak.run(server)) for soak, server in zip(soaks, servers, strict=True)
    ]
    try:
        # Not gather, which cancels them itself: a second time would break into their clearing up.
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in (telling, *running):
            task.cancel()
        await asyncio.gather(telling, *running, return_exceptions=True)
    for task in done:
        task.result()


async def tell(soaks: Sequence[Soak]) -> None:
    """Keep a line on the terminal up to date; in a log, write one a minute."""
    alive = sys.stderr.isatty()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(1 if alive else 60)
            sys.stderr.write(f"\r\x1b[K{progress(soaks)}" if alive else f"{progress(soaks)}\n")
            sys.stderr.flush()
    if alive:
        sys.stderr.write("\n")


if __name__ == "__main__":
    sys.exit(main())
