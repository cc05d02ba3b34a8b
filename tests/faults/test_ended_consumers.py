"""Consumers that end, however they do, leave nothing behind; and those that go on stay."""

from __future__ import annotations

import asyncio
import gc
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_queue import RedisChannelLayer
from support.inside import waiting_calls
from support.messages import cancel, consume, joined, numbered, take, within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer

WAVE = 500
HELLO, LATER = {"type": "hello"}, {"type": "later"}


class Site:
    """A process with a layer, and its own server."""

    def __init__(self, server: EmbeddedServer, layer: Any) -> None:
        self.server, self.layer = server, layer

    def at_server(self) -> int:
        """Return how many groups, or subscriptions, the server knows."""
        with self.server.client() as client:
            if isinstance(self.layer, RedisChannelLayer):
                return len(client.keys("asgi:group:*"))
            return len(client.pubsub_channels())

    async def has_forgotten(self, *, but: int = 0) -> None:
        """Wait until the process and the server have nothing left, but so many channels."""
        left = 0 if isinstance(self.layer, RedisChannelLayer) else but

        async def forgotten() -> bool:
            # A sender finds out that no member is there.
            await self.layer.group_send("room", LATER)
            found = self.layer.statistics()
            return (found.groups, found.mailboxes, self.at_server()) == (0, but, left)

        await eventually(forgotten)

    async def waits(self, channel: str, calls: int = 1) -> None:
        """Wait until calls of `receive` wait for a channel."""
        await eventually(lambda: waiting_calls(self.layer, channel) == calls)


@pytest.fixture
def channel_expiry() -> int:
    """Return the seconds for which the layer keeps a channel that has lost its reader."""
    return 1


@pytest.fixture
def site(
    own_server: EmbeddedServer,
    make_layer: Callable[..., Any],
    channel_expiry: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """Return a site whose layer looks for consumers that have ended more often than it does."""
    monkeypatch.setattr("channels_redis_queue.maintenance.CHECK_INTERVAL", 0.4)
    monkeypatch.setattr("channels_redis_pubsub.broker.SWEEP_INTERVAL", 0.4)
    return Site(own_server, make_layer(channel_expiry=channel_expiry))


def is_full(wave: list[str]) -> bool:
    """Return whether all consumers of a wave are members."""
    return len(wave) == WAVE


async def listen(layer: Any, room: str, ready: list[str]) -> None:
    """Be a consumer until cancelled, in one task."""
    channel = await layer.new_channel()
    for group in ("room", room):
        await layer.group_add(group, channel)
    ready.append(channel)
    while True:
        await layer.receive(channel)


@pytest.mark.slow
@pytest.mark.parametrize("channel_expiry", [3600])
async def test_cancelled(site: Site) -> None:
    """Waves of consumers with no `group_discard`: they leave at once, and nothing grows."""
    objects, tasks = [], len(asyncio.all_tasks())
    for wave in range(1, 4):
        ready: list[str] = []
        consumers = [
            asyncio.create_task(listen(site.layer, f"{n % 50}", ready)) for n in range(WAVE)
        ]
        await eventually(partial(is_full, ready))
        await within(site.layer.group_send("room", HELLO))
        await eventually(lambda wave=wave: site.layer.statistics().received == wave * WAVE)  # type: ignore[misc]
        for channel in ready:
            await site.waits(channel)
        assert site.layer.statistics().groups == 51
        await cancel(*consumers)
        await site.has_forgotten()
        gc.collect()
        objects.append(len(gc.get_objects()))
    # What else happens in this process may grow once; what consumers leave grows with each wave.
    assert min(after - before for before, after in itertools.pairwise(objects)) < WAVE / 2
    await site.layer.close_pools()
    assert len(asyncio.all_tasks()) == tasks


async def test_between_two_receives(site: Site) -> None:
    """Their handlers failed, or their browsers left as a message came: no receive is cancelled."""
    consumers = [asyncio.create_task(consume(site.layer, 1)) for _ in range(20)]
    await eventually(lambda: site.layer.statistics().mailboxes == 20)
    await within(site.layer.group_send("room", HELLO))
    await within(asyncio.gather(*consumers))
    await site.has_forgotten()


async def test_some_time_after_the_last_reader(site: Site) -> None:
    """A channel of one task on which others receive goes `channel_expiry` after the last."""
    channel = await asyncio.create_task(joined(site.layer, "room"))
    for _ in range(2):
        await within(site.layer.group_send("room", HELLO))
        assert await take(site.layer, channel) == HELLO
    receiver = asyncio.create_task(site.layer.receive(channel))
    await site.waits(channel)
    await cancel(receiver)
    await site.has_forgotten()


async def test_channels_for_one_answer_each(site: Site) -> None:
    """A long-lived task that makes a channel for each answer keeps only its own."""
    own = await site.layer.new_channel()
    for channel in [*[await site.layer.new_channel() for _ in range(20)], own]:
        await site.layer.send(channel, HELLO)
        # In this task: `take` has one for each call.
        assert await site.layer.receive(channel) == HELLO
    await site.has_forgotten(but=1)


async def test_maker_has_ended(site: Site) -> None:
    """A channel stays while another task reads, or handles; one without a reader yet as well."""
    layer, done = site.layer, asyncio.Event()
    unheard = await asyncio.create_task(consume(layer, 0))
    first = asyncio.create_task(consume(layer, 1))
    await eventually(lambda: layer.statistics().mailboxes == 1)
    await within(layer.group_send("room", HELLO))
    read, handled = await within(first), await asyncio.create_task(joined(layer, "room"))

    async def handle() -> Any:
        await layer.send(handled, HELLO)
        await layer.receive(handled)
        await done.wait()
        return await layer.receive(handled)

    handling, reading = asyncio.create_task(handle()), asyncio.create_task(layer.receive(read))
    # One that has lost its reader goes meanwhile.
    left = await asyncio.create_task(joined(layer, "left"))
    await within(layer.send(left, HELLO))
    assert await take(layer, left) == HELLO
    await eventually(lambda: layer.statistics().groups == 1)
    done.set()
    await within(layer.group_send("room", LATER))
    for consumer in (handling, reading):
        assert await within(consumer) == LATER
    assert [await take(layer, unheard) for _ in range(2)] == [HELLO, LATER]


async def test_polling(site: Site) -> None:
    """A loop that receives with a timeout for longer than `channel_expiry` is a consumer."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def poll() -> list[Any]:
        channel = await joined(site.layer, "room")
        received: list[Any] = []
        ready.set_result(channel)
        while len(received) < 40:
            receiving = asyncio.create_task(site.layer.receive(channel))
            await asyncio.wait([receiving], timeout=0.01)
            await cancel(receiving)
            if not receiving.cancelled():
                received.append(receiving.result())
        return received

    polling = asyncio.create_task(poll())
    channel = await within(ready)
    for to_group, to_channel in zip(*[iter(numbered(40))] * 2, strict=True):
        await asyncio.sleep(0.1)
        await within(site.layer.group_send("room", to_group))
        await within(site.layer.send(channel, to_channel))
    assert await within(polling) == numbered(40)
