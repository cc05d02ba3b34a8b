"""The servers of a soak, in each way that the layers may use them."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import redis

from embedded_server import EmbeddedServer
from support.cluster import EmbeddedCluster, command
from support.proxy import TcpProxy
from support.sentinels import SentinelGroup, host_by, role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

# So long that a busy machine is not taken for a dead server, and a dead one is still replaced soon.
DOWN_AFTER = 4000  # milliseconds
AOF = ("appendonly yes", "appendfsync everysec")


class Deployment:
    """Servers, and the `hosts` by which layers reach them.

    Attributes:
        hosts: How many entries that option has.
        servers: All servers but the Sentinels.
    """

    hosts = 1
    servers: Sequence[EmbeddedServer] = ()

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
        for server in self.running:
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
    """Servers that know nothing of each other, each behind a proxy.

    Args:
        hosts: How many.
        durable: Whether they have an append-only file.
    """

    def __init__(self, hosts: int, *, durable: bool) -> None:
        super().__init__()
        self.hosts = hosts
        self.durable = durable
        self.servers = [EmbeddedServer(*(AOF if durable else ())) for _ in range(hosts)]
        self.proxies: list[TcpProxy] = []

    def hosts_for(self, name: str) -> list[Any]:
        """Return the proxies' addresses."""
        return [{"address": proxy.url, "client_name": name} for proxy in self.proxies]

    async def _start(self) -> None:
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


def _is_healthy(node: EmbeddedServer) -> bool:
    try:
        return b"cluster_state:ok" in command(node, "CLUSTER", "INFO")
    except redis.ConnectionError:
        return False  # It has just been killed.


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
