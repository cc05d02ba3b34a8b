"""Processes that die, and those that notice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_queue._shared.presence import shard
from channels_redis_queue._shared.presence.keys import PresenceKeys
from support.messages import within
from support.proxy import TcpProxy
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import RunProcess
    from embedded_server import EmbeddedServer
    from presence.conftest import Line, Process, Processes
    from support.processes import WorkerProcess

PROGRAM = Path(__file__).parent / "person_process.py"
GROUPS = ["room", "room1", "room2"]

pytestmark = pytest.mark.usefixtures("quick_beats")


def heartbeats(server: EmbeddedServer, process: Process) -> list[float]:
    """Return the heartbeat of each process, in microseconds; 0 for one that has ended."""
    with server.client() as client:
        key = PresenceKeys(process.layer.presence_key_head).heartbeats
        return [at for _, at in client.zrange(key, 0, -1, withscores=True)]


async def start(run_process: RunProcess, like: Process, keys: list[str]) -> WorkerProcess:
    """Start a process with people that has the same servers as another one."""
    worker = await run_process(
        PROGRAM,
        layer=f"{type(like.layer).__module__}.{type(like.layer).__name__}",
        interval=shard.BEAT_INTERVAL,
        hosts=like.hosts,
        prefix=like.layer.prefix,
    )
    assert await worker.call(groups=GROUPS, keys=keys) == {"tracked": True}
    return worker


async def test_killed_process(
    processes: Processes, hosts: list[Any], run_process: RunProcess
) -> None:
    """People in a killed process alone leave, each once; two others find it silent."""
    here, there = processes(*hosts), processes(*hosts)
    watchers = [await here.watch(group) for group in GROUPS]
    for group in GROUPS:
        await here.open(group, "here")
        await there.open(group, "both")
    lost = [f"person{number}" for number in range(40)]
    killed = await start(run_process, here, [*lost, "both"])
    living = await start(run_process, here, ["other"])
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


@pytest.mark.parametrize("silent", [False, True])
async def test_removal_whose_reply_is_lost(
    line: Line, run_process: RunProcess, *, silent: bool
) -> None:
    """People of a killed process leave, each once, also if a long outage begins amid that."""
    await line.here.open("other", "here")
    killed = await start(run_process, line.there, ["ann", "bob"])
    await line.watcher.until("ann", "bob")
    loss = line.proxy.lose_reply(to=b"ann", cut=not silent)
    await killed.kill()
    await within(loss.happened.wait())
    if silent:
        await line.fall_silent()
        line.proxy.resume()
    await line.watcher.until()
    leaves = [key for name, key in line.watcher.events if name == "leaves"]
    assert sorted(leaves) == ["ann", "bob"]


async def test_lost_machine(processes: Processes, own_server: EmbeddedServer) -> None:
    """All processes of a lost machine are removed in one turn, even in groups without others."""
    here = processes(own_server.url)
    watcher = await here.watch("room")
    keys = PresenceKeys(here.layer.presence_key_head)
    lost = {f"person{number}": f"{number:04}" for number in range(200)}
    with own_server.client() as client:
        client.hset(keys.groups, "room", 1)
        client.hset(keys.people("room"), mapping={key: f"{lost[key]}[1]" for key in lost})
        client.zadd(keys.heartbeats, dict.fromkeys(lost.values(), 1))
    await here.open("other", "ann")
    while len(watcher.events) < len(lost):
        await watcher.look()
    assert sorted(watcher.events) == sorted(("leaves", key) for key in lost)
    assert len(watcher.messages) < 5
    assert await within(here.presence.count("room")) == 0
    await eventually(lambda: len(heartbeats(own_server, here)) == 1)


async def test_outage_of_all_processes(
    processes: Processes, own_server: EmbeddedServer, proxy: TcpProxy
) -> None:
    """After it, all are silent, and the first to be back removes no other."""
    async with TcpProxy(own_server.port) as other:
        here, there = processes(proxy.url), processes(other.url)
        watcher = await processes(own_server.url).watch("room")
        await here.open("room", "ann")
        await there.open("room", "bob")
        await watcher.until("ann", "bob")
        for one in (proxy, other):
            one.stall(new=True)
        latest = max(heartbeats(own_server, here))

        def all_are_silent() -> bool:
            with own_server.client() as client:
                seconds, _ = client.time()
            return bool(seconds - latest / 1_000_000 > 2 * shard.SILENT_AFTER)

        await eventually(all_are_silent)
        proxy.resume()
        await here.open("room", "eve")
        other.resume()
        await there.open("room", "joe")
        await watcher.until("ann", "bob", "eve", "joe")
        assert "leaves" not in dict(watcher.events)
        await here.layer.close_pools()
        await there.layer.close_pools()


async def test_process_that_was_only_slow(line: Line, own_server: EmbeddedServer) -> None:
    """A process that others took for dead is there again, with its people, and once."""
    await line.here.open("room", "slow")
    await line.there.open("room", "there")
    await line.watcher.until("slow", "there")
    line.proxy.stall(new=True)
    await line.watcher.until("there")
    line.proxy.resume()
    await line.watcher.until("there", "slow")
    assert await line.there.lists("room", there=[None], slow=[None])
    await eventually(lambda: len(heartbeats(own_server, line.there)) == 2)


async def test_process_killed_once_its_heartbeat_was_lost(
    processes: Processes, own_server: EmbeddedServer, run_process: RunProcess
) -> None:
    """Others remove its people, though Redis had forgotten all but them."""
    here = processes(own_server.url)
    watcher = await here.watch(GROUPS[0])
    killed = await start(run_process, here, ["ann", "bob"])
    await watcher.until("ann", "bob")
    keys = PresenceKeys(here.layer.presence_key_head)
    with own_server.client() as client:
        client.delete(keys.heartbeats, keys.groups)
        await eventually(lambda: client.hlen(keys.groups) == len(GROUPS))
    await killed.kill()
    await here.open("other", "here")
    await watcher.until()
    await eventually(lambda: len(heartbeats(own_server, here)) == 1)
