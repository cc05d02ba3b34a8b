"""Runs the targets, and reports which inputs a layer could not bear."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
from typing import TYPE_CHECKING

from fuzz.catalogue import KINDS
from fuzz.watch import Violation, Watch

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from fuzz.catalogue import Kind


async def fuzz(server: EmbeddedServer, kind: Kind, seed: object, count: int) -> None:
    """Feed a layer so many inputs of a kind.

    Raises:
        Violation: The layer did what it must not do. The message has the inputs of that batch.
    """
    with Watch() as watch:
        target = kind.target(server, f"{seed} {kind.name}")
        await target.open()
        try:
            fed = 0
            while fed < count:
                batch = min(target.batch, count - fed)
                try:
                    await target.run(batch)
                    watch.check(target.outages)
                except Exception as error:
                    raise Violation(
                        f"{kind.name}, seed {seed}, after {fed} inputs: "
                        f"{type(error).__name__}: {error}\n" + "\n".join(map(str, target.inputs))
                    ) from error
                fed += batch
        finally:
            with contextlib.suppress(Exception):
                await target.close()
        # What tasks have raised is logged when they are collected.
        gc.collect()
        await asyncio.sleep(0)
        watch.check(target.outages)


def shares(layer: str, inputs: int) -> dict[Kind, int]:
    """Return how many inputs of each kind a layer gets."""
    total = sum(kind.share for kind in KINDS[layer])
    return {kind: math.ceil(inputs * kind.share / total) for kind in KINDS[layer]}
