"""A chat on two server processes, which only a channel layer connects.

Starts a Redis-compatible server, and two ASGI servers with the site in ``chat_site``; ends all of
them on Ctrl-C. ``--smoke`` chats by itself instead and says whether that worked.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))  # For embedded_server.

from asgi_servers import LAYERS, ChatServer, ServerError, chat_servers
from embedded_server import EmbeddedServer
from smoke import SmokeError, chat_a_little

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTAGE = 3.0  # seconds that Redis stays away after someone pulls the plug
SMOKE_LIMIT = 60.0  # seconds that chatting may take in all


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--layer",
        choices=sorted(LAYERS),
        default="queue",
        help="the channel layer between the two processes (default: queue)",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="chat a little by itself, print what happened, and exit (0: all worked)",
    )
    options = parser.parse_args(arguments)
    package = LAYERS[options.layer].rpartition(".")[0]
    if importlib.util.find_spec(package) is None:
        parser.error(f"{package} is not installed: pip install {package.replace('_', '-')}")
    try:
        return asyncio.run(run_until_signal(options.layer, smoke=options.smoke))
    except (ServerError, SmokeError, FileNotFoundError, RuntimeError) as error:
        # What was done comes first, also where the output is a pipe, which is written in blocks.
        sys.stdout.flush()
        print(f"FAILED: {error}", file=sys.stderr)
        return 1


async def run_until_signal(layer: str, *, smoke: bool) -> int:
    """Run the demo; end it cleanly when the terminal, or anyone else, asks for it."""
    work = asyncio.ensure_future(run(layer, smoke=smoke))
    received: list[int] = []

    def stop(number: int) -> None:
        if not received:  # A second Ctrl-C must not disturb the tidying up.
            work.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await work
    except asyncio.CancelledError:
        print("\nStopped.", flush=True)
        return 128 + received[0] if smoke else 0


async def run(layer: str, *, smoke: bool) -> int:
    """Start everything, and chat or wait."""
    with EmbeddedServer("appendonly yes") as redis:  # It remembers all when it is back.
        async with chat_servers(layer, redis.url) as servers:
            if smoke:
                await smoke_in_time(servers)
                return 0
            print(f"Chat on two server processes; the channel layer is {LAYERS[layer]}.\n")
            for server in servers:
                print(f"  Server {server.name}: {server.url}")
            print("\nOpen both, and talk. Ctrl-C stops.", flush=True)
            await watch(servers, redis)
    return 0


async def smoke_in_time(servers: Sequence[ChatServer]) -> None:
    """Chat a little, within bounded time."""
    try:
        await asyncio.wait_for(chat_a_little(servers), SMOKE_LIMIT)
    except asyncio.TimeoutError as error:
        message = f"it is not done after {SMOKE_LIMIT:g} s"
        raise SmokeError(message) from error


async def watch(servers: Sequence[ChatServer], redis: EmbeddedServer) -> None:
    """Serve the plug, and keep the servers running, until one ends by itself: an error."""
    plug = asyncio.ensure_future(mind_the_plug(redis))
    runs = [asyncio.ensure_future(server.keep_running()) for server in servers]
    try:
        await asyncio.wait([plug, *runs], return_when=asyncio.FIRST_COMPLETED)
        for task in (plug, *runs):
            if task.done():
                task.result()
    finally:
        for task in (plug, *runs):
            task.cancel()


async def mind_the_plug(redis: EmbeddedServer) -> None:
    """Stop Redis for some seconds when the page's button sends SIGUSR1."""
    pulled = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, pulled.set)
    while True:
        await pulled.wait()
        print("Someone pulled the plug: Redis is gone.", flush=True)
        redis.kill()
        await asyncio.sleep(OUTAGE)
        redis.start()
        pulled.clear()
        print("Redis is back.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
