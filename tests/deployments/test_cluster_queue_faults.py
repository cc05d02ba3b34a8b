"""The queue layer while slots move, masters die and nodes lose their data."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.keys import Keys, non_local
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.ops.statistics import Counters
from channels_redis_shared.transport.cluster import Cluster, slot_of
from channels_redis_shared.transport.cluster_pipeline import ClusterPipeline
from support.cluster import EmbeddedCluster, command, node_id
from support.layers import reaches
from support.messages import cancel, within
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.layers import Layers

OUTAGE = 15.0  # seconds; what takes two or three of them on a quiet machine


class Flow:
    """Messages that go from one layer to a channel of another, one after the other."""

    def __init__(
        self, sender: RedisChannelLayer, receiver: RedisChannelLayer, channel: str
    ) -> None:
        self._sender, self._receiver, self._channel = sender, receiver, channel
        self.sent: list[int] = []
        self.failed: list[int] = []
        self.received: list[int] = []
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]

    async def _send(self) -> None:
        for number in range(1_000_000):
            try:
                await self._sender.send(self._channel, {"type": "x", "number": number})
            except RedisError:
                self.failed.append(number)
            else:
                self.sent.append(number)

    async def _receive(self) -> None:
        while True:
            message = await self._receiver.receive(self._channel)
            self.received.append(message["number"])

    async def goes_on(self, count: int = 100) -> None:
        """Wait until so many more messages have arrived."""
        goal = len(self.received) + count
        await eventually(lambda: len(self.received) >= goal, timeout=OUTAGE)

    async def stop(self) -> None:
        """End the sending, let everything arrive, and then end the receiving."""
        sending, receiving = self._tasks
        await cancel(sending)
        last = self.sent[-1]
        await eventually(lambda: self.received[-1] >= last, timeout=OUTAGE)
        assert not receiving.done()
        await cancel(receiving)


def message_key(layer: RedisChannelLayer, channel: str) -> str:
    """Return the message key of a channel."""
    return Keys(layer.prefix).messages(non_local(channel)).key


async def test_slot_that_moves(redis_cluster: EmbeddedCluster, layers: Layers) -> None:
    """All messages sent while their slot goes to another node arrive once and in order."""
    receiver, sender = (
        layers(RedisChannelLayer, redis_cluster.host, capacity=10_000) for _ in "rs"
    )
    channel = await receiver.new_channel()
    key = message_key(receiver, channel)
    flow = Flow(sender, receiver, channel)
    for _ in range(2):
        await flow.goes_on()
        await move(redis_cluster, key, flow)
    await flow.stop()
    assert not flow.failed
    # The last one may have been sent or not, as it was cancelled.
    assert flow.received[: len(flow.sent)] == flow.sent


async def move(cluster: EmbeddedCluster, key: str, flow: Flow) -> None:
    """Move the slot of a key, and let messages try to get through at each stage."""
    slot, source = key_slot(key.encode()), cluster.master_of(key)
    target = next(node for node in cluster.nodes if node is not source)
    await asyncio.to_thread(cluster.begin_move, slot, source, target)
    refused = errors(source, target)
    await eventually(lambda: errors(source, target) > refused)
    await asyncio.to_thread(cluster.move_keys, slot, source, target)
    await asyncio.to_thread(cluster.end_move, slot, target)
    assert cluster.master_of(key) is target
    await flow.goes_on()


def errors(*nodes: Any) -> int:
    """Return how many commands the nodes have refused because a slot is on its way."""
    total = 0
    for node in nodes:
        for line in command(node, "INFO", "errorstats").decode().splitlines():
            name, _, counted = line.partition(":count=")
            if name in {"errorstat_ASK", "errorstat_TRYAGAIN"}:
                total += int(counted)
    return total


async def test_calls_whose_slot_moves(own_cluster: EmbeddedCluster) -> None:
    """None overtakes another, also if a part of the process has learnt of the move meanwhile."""
    [host] = parse_hosts([{**own_cluster.host, "socket_timeout": 2 * OUTAGE}])
    cluster = Cluster(host)
    await cluster.learn()
    pipeline = ClusterPipeline(cluster, (), Counters())
    calls: list[asyncio.Future[Any]] = []

    async def push() -> None:
        number = len(calls) + 1
        calls.append(asyncio.ensure_future(pipeline.execute(("RPUSH", "x", number), key="x")))
        await asyncio.sleep(0)

    slot, source = slot_of("x"), own_cluster.master_of("x")
    target, other = (node for node in own_cluster.nodes if node is not source)
    command(source, "CLIENT", "PAUSE", 60_000, "WRITE")
    await push()
    await eventually(lambda: b"cmd=rpush" in command(source, "CLIENT", "LIST"))
    await push()
    command(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
    for node in (target, other):
        command(node, "CLUSTER", "SETSLOT", slot, "NODE", node_id(target))
    await eventually(lambda: own_cluster.master_of("x") is target)
    await cluster.learn()
    await push()
    # By the same connection as the last one, had that been sent to the new owner.
    owner = cluster.owner(slot)
    same = next(str(n) for n in range(1000) if cluster.owner(slot_of(str(n))) == owner)
    await pipeline.execute(("PING",), key=same)
    command(source, "CLIENT", "UNPAUSE")
    await asyncio.gather(*calls)
    assert command(target, "LRANGE", "x", 0, -1) == [b"1", b"2", b"3"]
    await pipeline.close()


async def test_node_that_has_left(redis_cluster: EmbeddedCluster) -> None:
    """Its reply, which names no owners, does not count, however soon it comes."""
    with EmbeddedCluster(masters=1) as former:
        command(former.nodes[0], "CLUSTER", "RESET")
        [host] = parse_hosts([{"cluster": [*former.addresses, *redis_cluster.addresses]}])
        cluster = Cluster(host)
        for _ in range(20):
            await within(cluster.learn())
            assert cluster.owners() == set(redis_cluster.addresses)
        [alone] = parse_hosts([former.host])
        with pytest.raises(RedisConnectionError, match="is in no Cluster"):
            await within(Cluster(alone).learn())


async def test_master_that_steps_down(replicated_cluster: EmbeddedCluster) -> None:
    """The connection to it is closed once a part of the process has learnt of its successor."""
    [host] = parse_hosts([replicated_cluster.host])
    cluster = Cluster(host)
    await cluster.learn()
    pipeline = ClusterPipeline(cluster, (), Counters())
    await pipeline.execute(("SET", "x", 1), key="x")
    former = replicated_cluster.master_of("x")

    def is_connected() -> bool:
        return b"cmd=set" in command(former, "CLIENT", "LIST")

    assert is_connected()
    command(replica_of(replicated_cluster, former), "CLUSTER", "FAILOVER")
    await eventually(lambda: replicated_cluster.master_of("x") is not former, timeout=OUTAGE)
    assert is_connected()
    await cluster.learn()
    await pipeline.execute(("GET", "x"), key="x")
    await eventually(lambda: not is_connected())
    await pipeline.close()


def replica_of(cluster: EmbeddedCluster, master: EmbeddedServer) -> EmbeddedServer:
    """Return the replica of a master."""
    return next(
        node for node in cluster.nodes if command(node, "ROLE")[:3:2] == [b"slave", master.port]
    )


async def test_master_that_dies(
    replicated_cluster: EmbeddedCluster, layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """The consumer sees no error, its replica takes over, and what is sent then arrives once."""
    caplog.set_level(logging.INFO, "channels_redis_queue")
    receiver, sender = (
        layers(RedisChannelLayer, replicated_cluster.host, capacity=10_000) for _ in "rs"
    )
    channel = await receiver.new_channel()
    flow = Flow(sender, receiver, channel)
    await flow.goes_on()
    replicated_cluster.master_of(message_key(receiver, channel)).kill()
    before = len(flow.sent)
    # The reply to one may be on its way yet.
    await eventually(lambda: len(flow.sent) > before + 1, timeout=OUTAGE)
    await flow.goes_on()
    await flow.stop()
    assert flow.received == sorted(set(flow.received))
    lost = set(flow.sent) - set(flow.received)
    # What the master confirmed and had not passed on when it died.
    assert all(number <= flow.sent[before] for number in lost)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_other_nodes_work_while_one_is_away(
    lone_masters: EmbeddedCluster, layers: Layers
) -> None:
    """A master that is away holds up what is for its slots, and nothing else."""
    layer = layers(RedisChannelLayer, {**lone_masters.host, "socket_timeout": 2 * OUTAGE})
    masters = {
        name: lone_masters.master_of(message_key(layer, name))
        for name in (f"jobs-{number}" for number in range(100))
    }
    lost = masters["jobs-0"]
    elsewhere = next(name for name, master in masters.items() if master is not lost)
    await layer.send("jobs-0", {"type": "x"})
    lost.kill()
    held = asyncio.create_task(layer.send("jobs-0", {"type": "late"}))
    for _ in range(50):
        await layer.send(elsewhere, {"type": "x"})
    assert not held.done()
    lost.start()
    await asyncio.wait_for(held, OUTAGE)


async def test_group_of_a_lost_master(replicated_cluster: EmbeddedCluster, layers: Layers) -> None:
    """Members that joined in the last moment are members at the new master, too."""
    layer = layers(RedisChannelLayer, replicated_cluster.host)
    channel = await layer.new_channel()
    waiting = asyncio.create_task(layer.receive(channel))
    key = Keys(layer.prefix).group("room")
    master = replicated_cluster.master_of(key)
    # Nothing reaches its replica any more.
    replica = replica_of(replicated_cluster, master)
    replica.pause()
    await layer.group_add("room", channel)
    master.kill()
    replica.resume()
    hello = {"type": "hello"}
    assert await reaches(waiting, partial(layer.group_send, "room", hello)) == hello


@pytest.mark.usefixtures("frequent_checks")
async def test_node_that_lost_its_data(redis_cluster: EmbeddedCluster, layers: Layers) -> None:
    """A node that came back empty serves its groups within seconds, whichever node it is."""
    layer = layers(RedisChannelLayer, redis_cluster.host)
    channel = await layer.new_channel()
    rooms = [f"room-{number}" for number in range(40)]  # so that each node has some
    for room in rooms:
        await layer.group_add(room, channel)
    messages: list[str] = []

    async def receive() -> None:
        while True:
            messages.append((await layer.receive(channel))["room"])

    receiving = asyncio.create_task(receive())
    for node in redis_cluster.nodes:
        keys = [Keys(layer.prefix).group(room) for room in rooms]
        theirs = [key for key in keys if redis_cluster.master_of(key) is node]
        assert theirs
        command(node, "FLUSHALL")

        async def all_back(node: Any = node, theirs: list[str] = theirs) -> bool:
            return all(command(node, "EXISTS", key) for key in theirs)

        await eventually(all_back, timeout=OUTAGE)
    for room in rooms:
        await layer.group_send(room, {"type": "x", "room": room})
    await eventually(lambda: sorted(messages) == sorted(rooms))
    await cancel(receiving)
