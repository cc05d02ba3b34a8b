"""The doctor knows the people on a host, and the processes that have them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from channels_redis_queue._shared.presence.keys import PresenceKeys
from channels_redis_queue._shared.transport.commands import shard_of
from presence.conftest import shards
from support.commands import QUEUE, examine
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from presence.conftest import Process
    from support.layers import LayerClass


async def test_processes_and_people(
    processes: Callable[..., Process], hosts: list[Any], layer_class: LayerClass, prefix: str
) -> None:
    """The doctor counts people, groups and processes, and finds processes that ended."""
    package = layer_class.__module__.partition(".")[0]

    async def found() -> list[tuple[str, str]]:
        report = await asyncio.to_thread(examine, package, *hosts, prefix=prefix)
        assert not [one for one in report.findings if one["subject"] == "rights, presence"]
        about = [one for one in report.findings if one["subject"] == "presence"]
        return [(one["level"], one["text"]) for one in about]

    assert await found() == [("ok", "not in use")] * len(hosts)
    here, there = processes(hosts), processes(hosts)
    for process, key in ((here, "ann"), (there, "ann"), (there, "bob")):
        await process.open("room", key)
    place = shard_of("room", len(hosts))
    counted = await found()
    assert counted[place] == ("ok", "2 people in 1 groups, from 2 processes")
    # Each process has a lease on each host.
    counted[place] = ("ok", "0 people in 0 groups, from 2 processes")
    assert counted == [counted[place]] * len(hosts)
    commands, keys = here.layer.key_shards[place], PresenceKeys(here.layer.presence_key_head)
    await commands.execute(("ZADD", keys.leases, 1, "killed"), key=keys.leases)
    ended = "2 people in 1 groups, from 2 processes and 1 that ended without notice"
    assert (await found())[place] == ("warning", ended)
    living = await commands.execute(
        ("ZRANGEBYSCORE", keys.leases, 2, "+inf"), key=keys.leases, idempotent=True
    )
    await commands.execute(("ZREM", keys.leases, *living), key=keys.leases)
    ended = "0 people in 0 groups, from 0 processes and 1 that ended without notice"
    assert (await found())[place] == ("note", ended)


async def test_unreadable_names(
    processes: Callable[..., Process],
    redis_server: EmbeddedServer,
    layer_class: LayerClass,
    prefix: str,
) -> None:
    """Names that no layer wrote are counted like others."""
    here = processes([redis_server.url])
    await here.open("room", "ann")
    for part in shards(here):  # it would remove the people of the dead
        await within(part._renewing.acquire())
    keys = PresenceKeys(here.layer.presence_key_head)
    with redis_server.client() as client:
        client.zadd(keys.leases, {b"\xff": 1, "dead": 1})
        client.sadd(keys.groups("dead"), b"\xff")
    package = layer_class.__module__.partition(".")[0]
    report = await asyncio.to_thread(examine, package, redis_server.url, prefix=prefix)
    [text] = [one["text"] for one in report.findings if one["subject"] == "presence"]
    assert text == "1 people in 2 groups, from 1 processes and 2 that ended without notice"


async def test_server_that_evicts(
    processes: Callable[..., Process],
    start_server: Callable[..., EmbeddedServer],
    layer_class: LayerClass,
    prefix: str,
) -> None:
    """A server that evicts keys gets a warning, in the Pub/Sub layer once people are on it."""
    package = layer_class.__module__.partition(".")[0]
    server = start_server("maxmemory-policy allkeys-lru")

    async def levels() -> list[str]:
        report = await asyncio.to_thread(examine, package, server.url, prefix=prefix)
        return [one["level"] for one in report.findings if one["subject"] == "eviction"]

    assert await levels() == (["warning"] if package == QUEUE else [])
    await processes([server.url]).open("room", "ann")
    assert await levels() == ["warning"]
