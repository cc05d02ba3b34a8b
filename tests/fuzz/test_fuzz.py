"""Hostile data in each thing that the layers read from Redis.

A few seconds of it, unless FUZZ_INPUTS says how many inputs each layer gets: they are then of
another seed each time, or of FUZZ_SEED.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from fuzz import histories, targets
from fuzz.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from embedded_server import EmbeddedServer
    from fuzz.targets import Target

USUAL = 2000
INPUTS = int(os.environ.get("FUZZ_INPUTS", USUAL))
SEED = os.environ.get("FUZZ_SEED", "the suite" if INPUTS == USUAL else secrets.token_hex(4))

# Of each kind of data, its part of all inputs, and what feeds them.
Kinds = dict[str, tuple[float, Any]]


def kinds(messages: type[Target], history: type[Target]) -> Kinds:
    """Return what both layers read."""
    return {
        "messages": (4.0, messages),
        "json": (2.0, partial(messages, encoding="json")),
        "fernet": (2.0, partial(messages, encoding="fernet")),
        "presence": (1.0, targets.PresenceData),
        "history": (1.0, history),
        "hello": (0.1, targets.Replies),
        "sentinel": (0.1, targets.SentinelReplies),
        # Owners that can't be reached take their time.
        "cluster": (0.05, targets.ClusterReplies),
    }


QUEUE: Kinds = {
    **kinds(targets.QueueMessages, histories.QueueHistory),
    "names": (1.0, targets.QueueNames),
    "wrong types": (0.02, targets.QueueWrongTypes),
}
PUBSUB = kinds(targets.PubSubMessages, histories.PubSubHistory)


def parameters(layer: str, layer_class: object, of_layer: Kinds) -> Iterator[Any]:
    """Yield how to feed each kind of data to a layer, and how many inputs."""
    total = sum(share for share, _ in of_layer.values())
    for name, (share, target) in of_layer.items():
        make = partial(target, seed=f"{SEED} {name}", layer_class=layer_class)
        yield pytest.param(make, math.ceil(INPUTS * share / total), id=f"{layer}-{name}")


@pytest.mark.timeout(60 * math.ceil(INPUTS / USUAL))
@pytest.mark.parametrize(
    ("make", "count"),
    [
        *parameters("queue", partial(RedisChannelLayer, capacity=100_000), QUEUE),
        *parameters("pubsub", RedisPubSubChannelLayer, PUBSUB),
    ],
)
async def test_hostile_data(
    make: Callable[[EmbeddedServer], Target], count: int, own_server: EmbeddedServer
) -> None:
    """No `receive` raises, nothing hangs, memory is bounded, and so is the log."""
    with Watch() as watch:
        target = make(own_server)
        await target.open()
        try:
            for fed in range(0, count, target.batch):
                try:
                    await target.run(min(target.batch, count - fed))
                    watch.check(target.outages)
                except Exception as error:
                    inputs = "\n".join(map(str, target.inputs))
                    message = f"seed {SEED}, after {fed} inputs: {error!r}\n{inputs}"
                    raise AssertionError(message) from error
        finally:
            with contextlib.suppress(Exception):
                await target.close()
        # What tasks have raised is logged when they are collected.
        gc.collect()
        await asyncio.sleep(0)
        watch.check(target.outages)
