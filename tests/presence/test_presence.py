"""People come and go, on both layers and each kind of servers."""

from __future__ import annotations

import asyncio
import math
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, channel_layers
from django.contrib.sessions.backends.cache import SessionStore
from django.core import signing
from django.utils.crypto import get_random_string
from redis.exceptions import RedisError

from channels_redis_queue._shared.presence import shard
from channels_redis_queue._shared.presence.keys import PresenceKeys
from channels_redis_queue.presence import Presence
from support.messages import within
from support.past import Past
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from presence.conftest import Line, Processes

ROOMS = [f"room{number}" for number in range(4)]  # on several shards and nodes


async def test_tabs_are_one_person(processes: Processes, hosts: list[Any]) -> None:
    """A person joins with the first tab and leaves with the last, in whichever process."""
    here, there = processes(*hosts), processes(*hosts)

    async def visit(room: str) -> None:
        watcher = await there.watch(room)
        tabs = [(process, await process.open(room, "ann", 1)) for process in (here, here, there)]
        await there.open(room, "bob")
        await watcher.until("ann", "bob")
        assert await there.lists(room, ann=[1, 1, 1], bob=[None])
        for process, channel in tabs[:2]:
            await within(process.presence.untrack(room, channel))
        await eventually(lambda: there.lists(room, ann=[1], bob=[None]))
        await within(there.presence.untrack(room, tabs[2][1]))
        await watcher.until("bob")
        assert sorted(watcher.events) == [("joins", "ann"), ("joins", "bob"), ("leaves", "ann")]
        assert await here.lists(room, bob=[None])

    await asyncio.gather(*map(visit, ROOMS))


async def test_page_that_moves(processes: Processes) -> None:
    """A page that connects to another process within the grace neither leaves nor joins."""
    here, there = processes(grace=2), processes()
    watcher = await there.watch("room")
    old = await here.open("room", "ann")
    await watcher.until("ann")
    await within(here.presence.untrack("room", old))
    await there.open("room", "ann")
    assert await here.lists("room", ann=[None, None])
    # The old process has told Redis after the grace, and no one else.
    await eventually(lambda: here.lists("room", ann=[None]))
    await here.open("room", "bob")
    await watcher.until("ann", "bob")
    assert watcher.events == [("joins", "ann"), ("joins", "bob")]


async def test_new_meta(processes: Processes) -> None:
    """Another meta is a join once more, with the metas of all processes, also of a new page."""
    here, there = processes(grace=2), processes()
    watcher = await there.watch("room")
    channel = await here.open("room", 7, {"away": False})  # type: ignore[arg-type]
    await watcher.until("7")
    await within(here.presence.track("room", channel, 7, {"away": True}))
    assert (await watcher.look())["joins"] == {"7": [{"away": True}]}
    await there.open("room", "7", {"away": False})
    await within(here.presence.track("room", channel, 7, {"away": None}))
    joins = (await watcher.look())["joins"]["7"]
    assert sorted(joins, key=str) == [{"away": False}, {"away": None}]
    # The same once more changes nothing.
    await within(here.presence.track("room", channel, 7, {"away": None}))
    await here.open("room", "bob")
    assert list((await watcher.look())["joins"]) == ["bob"]
    # A page that comes back within the grace is no news, but its meta may be.
    await within(here.presence.untrack("room", channel))
    await here.open("room", "7", {"away": 1})
    assert {"away": 1} in (await watcher.look())["joins"]["7"]


async def test_another_key_of_someone_else(processes: Processes) -> None:
    """The former person leaves after the grace, even without a join."""
    here, there = processes(), processes()
    watcher = await there.watch("room")
    await there.open("room", "ann")
    channel = await here.open("room", "guest")
    await watcher.until("ann", "guest")
    await within(here.presence.track("room", channel, "ann"))
    # Before the next heartbeat: nothing else would wake the process.
    await within(watcher.until("ann"), shard.BEAT_INTERVAL / 2)


async def test_channel_that_ends(processes: Processes, hosts: list[Any]) -> None:
    """A channel that ends with its consumer takes its person from all groups."""
    here, there = processes(*hosts), processes(*hosts)
    watchers = [await there.watch(room) for room in ROOMS]
    receives = asyncio.Event()

    async def consume() -> None:
        channel = await here.layer.new_channel()
        for room in ROOMS:
            await here.presence.track(room, channel, "ann")
        receiver = asyncio.create_task(here.layer.receive(channel))
        await asyncio.sleep(0)  # one step of the receiver: a channel without one would stay
        receives.set()
        await receiver

    consumer = asyncio.create_task(consume())
    await within(receives.wait())
    for watcher in watchers:
        await watcher.until("ann")
    consumer.cancel()
    for watcher in watchers:
        await watcher.until()
    for room in ROOMS:
        assert await within(there.presence.count(room)) == 0


@pytest.mark.usefixtures("quick_beats")
async def test_channel_that_had_ended(processes: Processes) -> None:
    """A channel that has ended before it is tracked is a person's for `channel_expiry` seconds."""
    here = processes(channel_expiry=1)
    watcher = await here.watch("room")
    ended, living = [await within(here.layer.new_channel()) for _ in range(2)]
    receivers = [asyncio.create_task(here.layer.receive(one)) for one in (ended, living)]
    await asyncio.sleep(0)  # one step of the receivers
    receivers[0].cancel()
    await eventually(lambda: not here.layer.knows_channel(ended))
    await within(here.presence.track("room", ended, "ghost"))
    await within(here.presence.track("room", living, "ann"))
    await watcher.until("ghost", "ann")
    await watcher.until("ann")
    assert await within(here.presence.list("room")) == {"ann": [None]}
    receivers[1].cancel()


async def test_changes_after_a_list(processes: Processes) -> None:
    """They are newer than it; who is tracked again at once stays; other threads may end people."""
    here = processes(grace=0)
    watcher = await here.watch("room")
    channel = await here.open("room", "ann")
    listed = await within(here.presence.list("room"))
    await watcher.until("ann")
    await here.presence.untrack("room", channel)
    await within(here.presence.track("room", channel, "ann"))
    await here.open("room", "bob")
    await watcher.until("ann", "bob")
    assert watcher.events == [("joins", "ann"), ("joins", "bob")]
    assert watcher.seen["ann"] <= listed.at < watcher.seen["bob"]
    assert await asyncio.to_thread(async_to_sync(here.presence.count), "room") == 2
    await asyncio.to_thread(async_to_sync(here.presence.untrack), "room", channel)
    await watcher.until("bob")


async def test_wave(processes: Processes) -> None:
    """Many who come and go at once are a few messages, of a bounded size, not one for each."""
    here, there = processes(grace=0), processes()
    watcher = await there.watch("room")
    keys = [f"person{number}" for number in range(500)]
    large = partial(here.presence.track, "room", meta="m" * 1600)
    await within(asyncio.gather(*(large(channel=f"channel{key}", key=key) for key in keys)))
    await watcher.until(*keys)
    assert len(watcher.messages) < 30
    assert await within(there.presence.count("room")) == 500
    assert set(await within(there.presence.list("room"))) == set(keys)
    for key in keys:
        await here.presence.untrack("room", f"channel{key}")
    await watcher.until()
    assert all(len(repr(message)) < 70_000 for message in watcher.messages)


@pytest.mark.usefixtures("quick_beats")
async def test_lost_data(
    processes: Processes, hosts: list[Any], servers: list[EmbeddedServer], prefix: str
) -> None:
    """A server that has lost all is told again who is there; a page that lists sees them join."""
    here, there = processes(*hosts), processes(*hosts)
    for room in ROOMS:
        await here.open(room, "ann", 1)
        await there.open(room, "bob")
    gone = await here.open(ROOMS[0], "eve")
    for server in servers:
        with server.client() as client:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)
        await here.presence.untrack(ROOMS[0], gone)
        watcher = await there.watch(ROOMS[0])
        watcher.people = dict(await within(there.presence.list(ROOMS[0])))
        await watcher.until("ann", "bob")
        for room in ROOMS:
            await eventually(partial(there.lists, room, ann=[1], bob=[None]))


@pytest.mark.usefixtures("quick_beats")
async def test_lost_leave(processes: Processes, own_server: EmbeddedServer) -> None:
    """Whose leave a server has lost leaves once more, and who has come since is there again."""
    here = processes(own_server.url)
    watcher = await here.watch("room")
    channel = await here.open("room", "bob")
    await watcher.until("bob")
    past = Past(own_server)
    await here.presence.untrack("room", channel)
    await watcher.until()
    await here.open("room", "ann")
    past.come_back()
    await eventually(lambda: here.lists("room", ann=[None]))


async def test_process_that_was_marked_by_mistake(
    processes: Processes, redis_server: EmbeddedServer
) -> None:
    """A process that goes on has a heartbeat before it has people, so they never stay alone."""
    here = processes()
    await here.open("room", "ann")
    keys = PresenceKeys(here.layer.presence_key_head)
    with redis_server.client() as client:
        await eventually(lambda: client.ttl(keys.heartbeats) > 0)  # the first was sent
        [process] = client.zrange(keys.heartbeats, 0, -1)
        mark = 1795628183991846.5
        client.zadd(keys.heartbeats, {process: mark})
        await here.open("room", "bob")
        assert client.zscore(keys.heartbeats, process) > mark + 1


async def test_keys_expire(processes: Processes, redis_server: EmbeddedServer) -> None:
    """The keys of a process outlive those of a group, from which its people have to be taken."""
    here = processes()
    await here.open("room", "ann")
    keys = PresenceKeys(here.layer.presence_key_head)
    with redis_server.client() as client:
        assert 0 < client.ttl(keys.people("room")) <= shard.GROUP_TTL
        least = shard.GROUP_TTL + shard.REWRITE_INTERVAL
        assert min(client.ttl(keys.heartbeats), client.ttl(keys.groups)) > least


async def test_server_that_is_away(processes: Processes, own_server: EmbeddedServer) -> None:
    """A person who came or left while the server was away is written once it is back."""
    here = processes({"address": own_server.url, "socket_timeout": 0.5})
    gone = await here.open("room", "bob")
    channel = await within(here.layer.new_channel())
    own_server.kill()
    with pytest.raises((RedisError, OSError)):
        await within(here.presence.track("room", channel, "ann"))
    await here.presence.untrack("room", gone)
    own_server.start()
    there = processes(own_server.url)
    await eventually(lambda: there.lists("room", ann=[None]), timeout=30)


async def test_lost_replies(line: Line) -> None:
    """A join or a leave whose reply is lost is told nevertheless, and the people are right."""
    here, there, watcher = line.here, line.there, line.watcher
    await here.open("room", "bob")
    await watcher.until("bob")
    for key in ("ann", "eve", "dan"):
        channel = await within(here.layer.new_channel())
        loss = line.proxy.lose_reply(to=key.encode())
        await within(here.presence.track("room", channel, key))
        assert loss.happened.is_set()
        await watcher.until("bob", key)
        await line.leave(channel, key, cut=True)
        await watcher.until("bob")
    assert await there.lists("room", bob=[None])


@pytest.mark.parametrize("is_repeated", [True, False])
async def test_person_joins_twice_while_a_reply_is_lost(line: Line, *, is_repeated: bool) -> None:
    """The join is told, with the metas of both processes, if either of them could not know."""
    await line.here.open("room", "bob")
    await line.watcher.until("bob")
    channel = await within(line.here.layer.new_channel())
    loss = line.proxy.lose_reply(to=b"ann", cut=is_repeated)
    tracking = asyncio.create_task(line.here.presence.track("room", channel, "ann", 1))
    await within(loss.happened.wait())
    line.proxy.stall(new=True)
    await line.there.open("room", "ann", 2)
    if not is_repeated:
        with pytest.raises((RedisError, OSError)):
            await within(tracking)
    line.proxy.resume()
    if is_repeated:
        await within(tracking)
    await line.watcher.until("bob", "ann")
    assert sorted(line.watcher.people["ann"]) == [1, 2]


@pytest.mark.parametrize(
    ("when", "closes"),
    [("writing", True), ("replying", True), ("after an outage", True), ("after an outage", False)],
)
async def test_end_while_a_person_leaves(line: Line, when: str, *, closes: bool) -> None:
    """Others hear of who left once the server is back, or the layer is used again."""
    await line.here.open("other", "bob")
    channel = await line.here.open("room", "ann", 1)
    await line.watcher.until("ann")
    if when == "writing":
        line.proxy.stall()
        await line.here.presence.untrack("room", channel)
    else:
        await line.leave(channel, "ann")
    if when == "after an outage":
        await line.fall_silent()
    if closes:
        await within(line.here.layer.close_pools())
    if when == "writing":
        line.proxy.cut()
    else:
        line.proxy.resume()
    await line.here.open("other", "eve")
    await line.watcher.until()
    assert line.watcher.messages[-1]["leaves"] == {"ann": [1]}
    assert await within(line.there.presence.count("room")) == 0


async def test_layer_that_is_closed_while_it_tells(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the layer is used again, it tells what the end has cut off."""
    here, watcher = line.here, line.watcher
    channel = await here.open("room", "ann", 1)
    await watcher.until("ann")
    telling = asyncio.Event()

    async def never_send(*_: object) -> None:
        telling.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as context:
        context.setattr(here.layer, "group_send", never_send)
        await here.presence.untrack("room", channel)
        await within(telling.wait())
        await within(here.layer.close_pools())
    await here.open("other", "bob")
    await watcher.until()
    assert watcher.messages[-1]["leaves"] == {"ann": [1]}


def nested(depth: int) -> list[Any]:
    """Return lists in each other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


async def test_wrong_arguments(processes: Processes) -> None:
    """A value that can't be written or sent is an error that says so."""
    here = processes()
    channel = await here.open("room", "ann")
    for key in ("", None, True, 1.5, "gu\ud800est", "k" * 513):
        with pytest.raises(TypeError, match="key must"):
            await here.presence.track("room", channel, key)  # type: ignore[arg-type]
    endless: list[Any] = []
    endless.append(endless)
    for meta in (object(), {"a": {1}}, endless, nested(101), nested(5000), 10**5000):
        with pytest.raises(TypeError):
            await here.presence.track("room", channel, "ann", meta)
    for meta in (math.nan, {"at": [math.inf, 1]}, {-math.inf: "a name"}):
        with pytest.raises(TypeError, match="neither NaN nor Infinity"):
            await here.presence.track("room", channel, "ann", meta)
    with pytest.raises(TypeError, match="4101 bytes as JSON, and the limit is 4096"):
        await here.presence.track("room", channel, "ann", "m" * 4099)
    assert await within(here.presence.list("room")) == {"ann": [None]}
    await within(here.presence.track("room", channel, "ann", nested(100)))
    for group in ("ro om", "r" * 91):
        with pytest.raises(TypeError):
            await here.presence.count(group)
    assert await here.presence.count("r" * 90) == 0
    with pytest.raises(ValueError, match="grace"):
        Presence(grace=-1)
    channel_layers.set("memory", InMemoryChannelLayer())
    with pytest.raises(TypeError, match="InMemoryChannelLayer"):
        await Presence("memory").count("room")


async def test_session_keys(processes: Processes) -> None:
    """The key of a session is refused, since everyone gets it; similar ids are not."""
    here = processes()
    channel = await here.open("room", "ann")
    session = SessionStore()
    session.create()
    in_cookie = signing.dumps({"cart": "Ann's order"}, key="a secret", compress=True)
    for key in (session.session_key, in_cookie):
        with pytest.raises(ValueError, match="key of a Django session") as raised:
            await here.presence.track("room", channel, key)
        assert key not in str(raised.value)
    for key in (uuid.uuid4().hex, str(uuid.uuid4()), f"user-{get_random_string(32)}"):
        await here.presence.track("room", channel, key)
