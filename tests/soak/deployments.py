"""The servers of a soak, in each way that the layers may use them."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from embedded_server import HOST, EmbeddedServer
from support.cluster import EmbeddedCluster, command, node_id
from support.proxy import TcpProxy
from support.sentinels import SentinelGroup, host_by, role
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

# So long that a busy machine is not taken for a dead server, and a dead one is still replaced soon.
DOWN_AFTER = 4000  # milliseconds
# Seconds in which nodes agree, and a replica takes over: some, but many runs may share a machine.
AGREEMENT = 240.0
AOF = ("appendonly yes", "appendfsync everysec")


class Deployment:
    """Servers, and the `hosts` by which layers reach them.

    Attributes:
        hosts: How many entries that option has.
        servers: All servers but the Sentinels.
        standbys: Those that no address leads to yet, or any more.
    """

    hosts = 1
    servers: Sequence[EmbeddedServer] = ()
    standbys: Sequence[EmbeddedServer] = ()

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    def hosts_for(self, name: str) -> list[Any]:
        """Return the option `hosts` of a process; the servers know its connections by its name."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        async with self._stack:
            await self._start()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        raise NotImplementedError

    def connections(self) -> Counter[str]:
        """Return how many connections each process has, by its name."""
        found: Counter[str] = Counter()
        for server in [*self.running, *self.standbys]:
            with server.client() as client:
                found.update(each["name"] for each in client.client_list())
        return found

    @property
    def running(self) -> list[EmbeddedServer]:
        """The servers that run."""
        return [server for server in self.servers if server.pid is not None]

    @property
    def masters(self) -> list[EmbeddedServer]:
        """The servers that run and are no replicas."""
        return [server for server in self.running if role(server) == "master"]

    def leaders(self) -> tuple[int, ...]:
        """Return the ports of the masters where they may change; none until all agree on them."""
        return ()


class Plain(Deployment):
    """Servers that know nothing of each other, each behind a proxy, and with another in reserve.

    Args:
        hosts: How many.
        durable: Whether they have an append-only file.
    """

    def __init__(self, hosts: int, *, durable: bool) -> None:
        super().__init__()
        self.hosts = hosts
        self.durable = durable
        config = AOF if durable else ()
        self.servers = [EmbeddedServer(*config) for _ in range(hosts)]
        self.standbys = [EmbeddedServer(*config) for _ in range(hosts)]
        self.proxies: list[TcpProxy] = []

    def hosts_for(self, name: str) -> list[Any]:
        """Return the proxies' addresses."""
        return [{"address": proxy.url, "client_name": name} for proxy in self.proxies]

    async def _start(self) -> None:
        for server in self.standbys:
            self._stack.enter_context(server)
        for server in self.servers:
            self._stack.enter_context(server)
            proxy = TcpProxy(server.port)
            self.proxies.append(await self._stack.enter_async_context(proxy))


class Cluster(Deployment):
    """A Cluster of three nodes, each with a replica."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = EmbeddedCluster(f"cluster-node-timeout {DOWN_AFTER}", replicas=1)

    def hosts_for(self, name: str) -> list[Any]:
        """Return the nodes' addresses."""
        return [{**self.cluster.host, "client_name": name}]

    async def _start(self) -> None:
        self._stack.enter_context(self.cluster)
        self.servers = self.cluster.nodes

    async def move(self, slots: set[int], source: EmbeddedServer, target: EmbeddedServer) -> None:
        """Move slots, with all that is in them, and return when all nodes know."""
        # As few ranges as possible: the replicas of Valkey 9.1 stand still after thousands of them.
        starts = [slot for slot in sorted(slots) if slot - 1 not in slots]
        ends = [slot for slot in sorted(slots) if slot + 1 not in slots]
        ranges = [end for pair in zip(starts, ends, strict=True) for end in pair]
        there = ("SLOTSRANGE", *ranges, "NODE", node_id(target))
        command(source, "CLUSTER", "MIGRATESLOTS", *there)  # Valkey 9 has it.
        await eventually(
            lambda: all(slots <= slots_of(target, node) for node in self.servers),
            timeout=AGREEMENT,
        )

    async def remove(self, master: EmbeddedServer, replica: EmbeddedServer) -> None:
        """Let two nodes without slots leave."""
        names = [node_id(node) for node in (master, replica)]
        for node in self.servers:
            for name in names if node not in {master, replica} else ():
                command(node, "CLUSTER", "FORGET", name)
        for node in (replica, master):
            await eventually(partial(_reset, node), timeout=AGREEMENT)

    async def add(self, master: EmbeddedServer, replica: EmbeddedServer) -> None:
        """Let two nodes join, without slots."""
        other = next(node for node in self.servers if node not in {master, replica})
        for node in (master, replica):
            _, bus_port = command(node, "CONFIG", "GET", "cluster-port")
            command(other, "CLUSTER", "MEET", HOST, node.port, bus_port)
        await eventually(lambda: all(map(self._reaches_all, self.servers)), timeout=AGREEMENT)
        command(replica, "CLUSTER", "REPLICATE", node_id(master))

    def _reaches_all(self, node: EmbeddedServer) -> bool:
        lines = command(node, "CLUSTER", "NODES").split(b"\n")
        known = {line.split()[0].decode() for line in lines if b" connected" in line}
        return known == set(map(node_id, self.servers))

    def leaders(self) -> tuple[int, ...]:
        """Return the ports of the masters."""
        masters = self.masters
        agreed = len(masters) == len(self.servers) // 2 and all(map(_is_healthy, masters))
        return tuple(master.port for master in masters) if agreed else ()


class Sentinel(Deployment):
    """A master with a replica, and Sentinels that let it take over."""

    def __init__(self) -> None:
        super().__init__()
        self.group = SentinelGroup(down_after=DOWN_AFTER, periods={})
        self.servers = [self.group.master, self.group.replica]

    def hosts_for(self, name: str) -> list[Any]:
        """Return the Sentinels' addresses."""
        return [host_by(*self.group.sentinels, client_name=name)]

    async def _start(self) -> None:
        self._stack.enter_context(self.group)
        await self.group.ready()

    def leaders(self) -> tuple[int, ...]:
        """Return the port of the master that all Sentinels name."""
        port = self.group.leader()
        return (port,) if port else ()


def slots_of(owner: EmbeddedServer, node: EmbeddedServer) -> set[int]:
    """Return the slots that a node has, as another one says."""
    return {
        slot
        for first, last, (_, port, *_), *_ in command(node, "CLUSTER", "SLOTS")
        if port == owner.port
        for slot in range(first, last + 1)
    }


def _is_healthy(node: EmbeddedServer) -> bool:
    try:
        return b"cluster_state:ok" in command(node, "CLUSTER", "INFO")
    except redis.ConnectionError:
        return False  # It has just been killed.


def _reset(node: EmbeddedServer) -> bool:
    """Let a node forget its cluster; return False while it loads what another has sent."""
    try:
        command(node, "CLUSTER", "RESET", "HARD")
    except redis.BusyLoadingError:
        return False
    return True


NAMES = ("one", "shards", "cluster", "sentinel")


def deployment(name: str, *, durable: bool) -> Deployment:
    """Return a deployment that is not started yet.

    Args:
        name: One of `NAMES`.
        durable: Whether single servers have an append-only file.
    """
    if name == "cluster":
        return Cluster()
    if name == "sentinel":
        return Sentinel()
    return Plain(2 if name == "shards" else 1, durable=durable)
