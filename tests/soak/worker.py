"""One process of the soak: consumers and senders of one layer, at the driver's command."""

from __future__ import annotations

import asyncio
import random
import threading
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from soak.browsers import BROWSERS, Browser
from soak.consumers import Consumer, Site, read_general
from soak.journal import Journal
from soak.layers import is_foreign, make_layer, make_presence
from soak.load import CONSUMERS, JOBS, PEOPLE, SENDERS, SOLO, WORKERS
from soak.sabotage import Sabotaged
from soak.senders import Sender
from support.messages import cancel
from support.worker import arguments, async_requests, reply

IDS = 1_000_000  # numbers of messages for each process


async def live_again(site: Site) -> None:
    """Be one consumer after the other."""
    while True:
        # In its own task, as each consumer is: a layer sees a channel's end by its task's.
        await asyncio.create_task(Consumer(site).run())


def start(site: Site) -> list[asyncio.Task[None]]:
    """Start consumers, readers and senders; none of them ends by itself."""
    by = site.journal.by
    own = f"{SOLO}{by}"
    coroutines = [
        *(live_again(site) for _ in range(CONSUMERS)),
        read_general(site, JOBS, WORKERS),
        read_general(site, own, 1),
        *(Browser(site, n).run() for n in range(BROWSERS if site.recovery else 0)),
        *(Sender(site, f"{by}/{number}").run() for number in range(SENDERS)),
    ]
    site.channels.add(own)
    # The layer of channels_redis 4 refuses to receive in two event loops of a process.
    threaded = partial(Sender(site, f"{by}/thread").run_in_thread, visits=bool(site.presence))
    threading.Thread(target=threaded, daemon=True).start()
    return [asyncio.create_task(coroutine) for coroutine in coroutines]


async def close(site: Site, tasks: list[asyncio.Task[None]]) -> None:
    """End all consumers, and close what the layer has open in this event loop."""
    await cancel(*tasks)
    with site.expecting_errors("close_pools", ""):
        await (getattr(site.layer, "close_pools", None) or site.layer.flush)()


async def main() -> None:
    """Serve the driver until it has no more requests."""
    given = arguments()
    journal = Journal(Path(given["journal"]), given["by"], given["number"] * IDS)
    chance = random.Random(f"{given['seed']} {given['by']}")
    layer = make_layer(
        given["layer"], given["hosts"], encrypted=given["encrypted"], recovery=given["recovery"]
    )
    sabotage = given["sabotage"]
    tested = Sabotaged(layer, sabotage, chance, given["odds"]) if sabotage else layer
    site = Site(
        tested,
        journal,
        chance,
        recovery=given["recovery"],
        presence=None if is_foreign(given["layer"]) else make_presence(layer),
    )
    tasks = start(site)
    reply(ready=True)
    async for request in async_requests():
        for task in tasks:
            if task.done():
                task.result()
        if "active" in request:
            # Without load, the calls under way are the last.
            (site.active.set if request["active"] else site.active.clear)()
        if "close" in request:
            await close(site, tasks)
        site.known = request.get("known", site.known)
        answer: dict[str, Any] = {"channels": sorted(site.channels)}
        if "figures" in request:
            # It looks into layers that are not installed where one of channels_redis 4 is tested.
            answer["figures"] = import_module("soak.figures").figures(layer)
        if "people" in request:
            answer["people"] = [name for name in site.channels if not name.startswith(SOLO)]
            answer["listed"] = sorted(await site.presence.list(PEOPLE))
        reply(**answer)


if __name__ == "__main__":
    asyncio.run(main())
