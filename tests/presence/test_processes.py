"""Processes that die, and those that notice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_queue._shared.presence import shard
from channels_redis_queue._shared.presence.keys import PresenceKeys
from presence.conftest import shards
from support.messages import DEADLINE, within
from support.proxy import TcpProxy
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import RunProcess
    from embedded_server import EmbeddedServer
    from presence.conftest import Process
    from support.layers import LayerClass
    from support.processes import WorkerProcess

PROGRAM = Path(__file__).parent / "person_process.py"
GROUPS = [f"room{number}" for number in range(3)]

pytestmark = pytest.mark.usefixtures("short_leases")


def seconds_left(server: EmbeddedServer) -> list[float]:
    """Return the seconds until each lease ends."""
    with server.client() as client:
        [leases] = client.keys("*leases{presence}")
        now, _ = client.time()
        return [due / 1_000_000 - now for _, due in client.zrange(leases, 0, -1, withscores=True)]


@pytest.fixture
def start(run_process: RunProcess, layer_class: LayerClass, prefix: str) -> Callable[..., Any]:
    """Yield a coroutine function that starts a process with people."""

    async def start(hosts: list[Any], keys: list[str]) -> WorkerProcess:
        worker = await run_process(
            PROGRAM,
            layer=f"{layer_class.__module__}.{layer_class.__name__}",
            lease=shard.LEASE_SECONDS,
            renewal=shard.RENEWAL_INTERVAL,
            hosts=hosts,
            prefix=prefix,
        )
        assert await worker.call(groups=GROUPS, keys=keys) == {"tracked": True}
        return worker

    return start


async def test_killed_process(
    processes: Callable[..., Process], hosts: list[Any], start: Callable[..., Any]
) -> None:
    """People in a killed process alone leave, each once; two others claim its lease."""
    here, there = processes(hosts), processes(hosts)
    watchers = [await here.watch(group) for group in GROUPS]
    for group in GROUPS:
        await here.open(group, "here")
        await there.open(group, "both")
    lost = [f"person{number}" for number in range(40)]
    killed = await start(hosts, [*lost, "both"])
    living = await start(hosts, ["other"])
    for watcher in watchers:
        await watcher.until(*lost, "here", "both", "other")
    await killed.kill()
    for watcher in watchers:
        await watcher.until("here", "both", "other")
    for group in GROUPS:
        assert set(await within(here.presence.list(group))) == {"here", "both", "other"}
        assert await within(here.presence.count(group)) == 3
    await living.kill()
    for watcher in watchers:
        await watcher.until("here", "both")
        leaves = [key for name, key in watcher.events if name == "leaves"]
        assert sorted(leaves) == sorted([*lost, "other"])


async def test_removal_whose_reply_is_lost(
    processes: Callable[..., Process],
    own_server: EmbeddedServer,
    proxy: TcpProxy,
    start: Callable[..., Any],
) -> None:
    """People of a killed process leave, each once, if the connection breaks while they do."""
    here, there = processes([proxy.url]), processes([own_server.url])
    watcher = await there.watch(GROUPS[0])
    await here.open("other", "here")
    killed = await start([own_server.url], ["ann", "bob"])
    await watcher.until("ann", "bob")
    loss = proxy.lose_reply(to=b"ann")
    await killed.kill()
    await watcher.until()
    assert loss.happened.is_set()
    leaves = [key for name, key in watcher.events if name == "leaves"]
    assert sorted(leaves) == ["ann", "bob"]


async def test_outage_amid_a_removal(
    processes: Callable[..., Process],
    own_server: EmbeddedServer,
    proxy: TcpProxy,
    start: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People of a killed process leave once the server is back, also after a long outage."""
    here = processes([{"address": proxy.url, "socket_timeout": 1}])
    there = processes([own_server.url])
    watcher = await there.watch(GROUPS[0])
    await here.open("other", "here")
    killed = await start([own_server.url], ["ann", "bob"])
    await watcher.until("ann", "bob")
    tell_again, failed = shard.ShardPresence._tell_again, asyncio.Event()

    def note(self: shard.ShardPresence, group: str, people: Any) -> None:
        tell_again(self, group, people)
        failed.set()

    monkeypatch.setattr(shard.ShardPresence, "_tell_again", note)
    loss = proxy.lose_reply(to=b"ann", cut=False)
    await killed.kill()
    await within(loss.happened.wait())
    failed.clear()
    proxy.stall(new=True)
    # The removal has failed, and every attempt to repeat it.
    await within(failed.wait())
    proxy.resume()
    await watcher.until()
    leaves = [key for name, key in watcher.events if name == "leaves"]
    assert sorted(leaves) == ["ann", "bob"]


async def test_overdue_leases(
    processes: Callable[..., Process],
    hosts: list[Any],
    start: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process claims leases once they are overdue, of all processes of a lost machine."""
    lost = [await start(hosts, [f"person{number}"]) for number in range(3)]
    # The next renewal comes too late for the test.
    monkeypatch.setattr(shard, "LEASE_SECONDS", 1000)
    monkeypatch.setattr(shard, "RENEWAL_INTERVAL", 1000)
    here = processes(hosts)
    watchers = [await here.watch(group) for group in GROUPS]
    await here.open("other", "ann")
    for process in lost:
        await process.kill()
    for group, watcher in zip(GROUPS, watchers, strict=True):
        leaves: list[str] = []
        while len(leaves) < 3:
            await watcher.look()
            # A join may still be on its way when the watcher comes.
            leaves = [key for name, key in watcher.events if name == "leaves"]
        assert sorted(leaves) == ["person0", "person1", "person2"]
        assert await within(here.presence.count(group)) == 0


async def test_many_overdue_leases(
    processes: Callable[..., Process],
    own_host: list[str],
    own_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One renewal claims those of all processes of a lost machine."""
    here = processes(own_host)
    watcher = await here.watch("room")
    keys = PresenceKeys(here.layer.presence_key_head)
    lost = {f"person{number}": f"process{number}" for number in range(60)}
    with own_server.client() as client:
        for key, process in lost.items():
            client.hset(keys.local_people("room", process), key, "[1]")
            client.sadd(keys.groups(process), "room")
        client.hset(keys.people("room"), mapping=dict.fromkeys(lost, 1))
        client.sadd(keys.processes("room"), *lost.values())
        client.zadd(keys.leases, dict.fromkeys(lost.values(), 1))
    renew, claims = shard.ShardPresence._renew, []

    async def note(self: shard.ShardPresence) -> None:
        claims.append(1)
        await renew(self)

    # The next renewal comes too late for the test.
    monkeypatch.setattr(shard, "RENEWAL_INTERVAL", 1000)
    monkeypatch.setattr(shard.ShardPresence, "_renew", note)
    await here.open("other", "ann")
    while len(watcher.events) < len(lost):
        await watcher.look()
    assert sorted(watcher.events) == sorted(("leaves", key) for key in lost)
    # One as it came, and one once it may claim others.
    assert len(claims) <= 3
    assert await within(here.presence.count("room")) == 0


async def test_outage_of_all_processes(
    processes: Callable[..., Process],
    own_server: EmbeddedServer,
    proxy: TcpProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After it, all leases are overdue, and the first to renew its own leaves the others theirs."""
    monkeypatch.setattr(shard, "STEADY_AFTER", 3)
    async with TcpProxy(own_server.port) as other:
        here, there = processes([proxy.url]), processes([other.url])
        watcher = await processes([own_server.url]).watch("room")
        await here.open("room", "ann")
        await there.open("room", "bob")
        await watcher.until("ann", "bob")
        await asyncio.sleep(3)  # both may take over others by now
        for one in (proxy, other):
            one.stall(new=True)
        await eventually(lambda: max(seconds_left(own_server)) < 0)
        proxy.resume()
        await here.open("room", "eve")
        await asyncio.sleep(0.5)
        other.resume()
        await eventually(lambda: min(seconds_left(own_server)) > 0)
        await there.open("room", "joe")
        await watcher.until("ann", "bob", "eve", "joe")
        assert "leaves" not in dict(watcher.events)
        await here.layer.close_pools()
        await there.layer.close_pools()


async def test_process_that_was_only_slow(
    processes: Callable[..., Process], hosts: list[Any]
) -> None:
    """A process that others took for dead writes its people again."""
    slow = processes(hosts)
    watcher = await slow.watch("room")
    await slow.open("room", "slow")
    await watcher.until("slow")
    renewals = [part._renewing for part in shards(slow)]
    for renewal in renewals:
        await within(renewal.acquire())
    here = processes(hosts)
    await here.open("room", "here")
    await watcher.until("here")
    for renewal in renewals:
        renewal.release()
    await watcher.until("here", "slow")
    assert set(await within(here.presence.list("room"))) == {"here", "slow"}


@pytest.mark.parametrize("groups", [1, 2])
async def test_process_that_took_over_was_slow_as_well(
    processes: Callable[..., Process],
    own_host: list[str],
    monkeypatch: pytest.MonkeyPatch,
    groups: int,
) -> None:
    """People who were written again before they were removed are written once more."""
    slow = processes(own_host)
    watchers = {group: await slow.watch(group) for group in GROUPS[:groups]}
    for group, watcher in watchers.items():
        await slow.open(group, "slow")
        await watcher.until("slow")
    [part] = shards(slow)
    await within(part._renewing.acquire())
    reap_group = shard.ShardPresence._reap_group
    reaped: asyncio.Queue[str] = asyncio.Queue()
    goes_on = asyncio.Event()

    async def reap_late(self: shard.ShardPresence, group: str, process: str) -> None:
        reaped.put_nowait(group)
        await goes_on.wait()
        await reap_group(self, group, process)

    monkeypatch.setattr(shard.ShardPresence, "_reap_group", reap_late)
    here = processes(own_host)
    await here.open("other", "here")
    group = await within(reaped.get())
    part._renewing.release()
    await eventually(lambda: part._second_rewrite is not None)
    await eventually(lambda: part._second_rewrite is None and not part._suspect)
    goes_on.set()
    watcher = watchers[group]
    while ("leaves", "slow") not in watcher.events:
        await watcher.look()
    await watcher.until("slow")
    assert set(await within(here.presence.list(group))) == {"slow"}


async def test_layer_that_closes(
    processes: Callable[..., Process], hosts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event loop that ends hands its people over, before its lease would have ended."""
    monkeypatch.setattr(shard, "HANDOVER_GRACE", 0.5)
    monkeypatch.setattr(shard, "HANDOVER_TIMEOUT", DEADLINE)
    here = processes(hosts)
    watcher = await here.watch("room")
    await here.open("room", "here")
    with monkeypatch.context() as context:
        context.setattr(shard, "LEASE_SECONDS", 1000)
        closing = processes(hosts)
        await closing.open("room", "ann")
        await watcher.until("here", "ann")
        await within(closing.layer.close_pools())
    await watcher.until("here")


async def test_layer_that_closes_far_from_its_server(
    processes: Callable[..., Process],
    own_server: EmbeddedServer,
    proxy: TcpProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It hands its people over although the reply takes a while."""
    monkeypatch.setattr(shard, "LEASE_SECONDS", 1000)
    monkeypatch.setattr(shard, "HANDOVER_GRACE", 500)
    closing = processes([proxy.url])
    await closing.open("room", "ann")
    proxy.delay(0.15)
    await within(closing.layer.close_pools())
    [left] = seconds_left(own_server)
    assert left <= 501


async def test_loop_that_ends_amid_a_write(
    processes: Callable[..., Process], own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hands its people over as well, though the end cancels what is being written."""
    monkeypatch.setattr(shard, "LEASE_SECONDS", 1000)
    monkeypatch.setattr(shard, "HANDOVER_GRACE", 500)
    monkeypatch.setattr(shard, "HANDOVER_TIMEOUT", DEADLINE)
    ending = processes([own_server.url])

    async def come_and_end(key: str) -> None:
        await ending.open("room", key)
        asyncio.ensure_future(ending.layer.group_send("room", {"type": "message"}))  # noqa: RUF006
        await asyncio.sleep(0)

    for number in range(8):
        await asyncio.to_thread(asyncio.run, come_and_end(f"person{number}"))
    left = seconds_left(own_server)
    assert len(left) == 8
    assert max(left) <= 501
