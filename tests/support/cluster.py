"""A Redis Cluster of embedded servers.

>>> with EmbeddedCluster() as cluster:
...     print(cluster.addresses)
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from embedded_server import HOST, EmbeddedServer, reserve_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

# Milliseconds after which a node that does not answer counts as lost: soon if another one can take
# over, and otherwise hardly ever, as nodes on a busy machine may be slow to answer.
NODE_TIMEOUT, LONG_NODE_TIMEOUT = 1500, 15_000
AGREEMENT = 30.0  # seconds in which all nodes have to agree; a loaded machine may need some


class EmbeddedCluster:
    """Masters that share the slots evenly, and replicas of them.

    Args:
        config: Lines of a redis.conf for each node.
        masters: How many masters.
        replicas: How many replicas each master has.
    """

    def __init__(self, *config: str, masters: int = 3, replicas: int = 0) -> None:
        self._config = (
            "cluster-enabled yes",
            f"cluster-node-timeout {NODE_TIMEOUT if replicas else LONG_NODE_TIMEOUT}",
            "repl-diskless-sync-delay 0",
            *config,
        )
        self._stack = ExitStack()
        self._bus_ports: dict[EmbeddedServer, int] = {}
        self._masters, self._replicas = masters, replicas
        self.nodes: list[EmbeddedServer] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses of all nodes."""
        return [(HOST, node.port) for node in self.nodes]

    @property
    def host(self) -> dict[str, Any]:
        """An entry of `hosts` for it."""
        return {"cluster": self.addresses}

    def __enter__(self) -> Self:
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def master_of(self, key: str) -> EmbeddedServer:
        """Return the master that says itself that it has a key."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            for first, last, (_, port, *_), *_ in _slots(node) if node.pid else ():
                if port == node.port and first <= slot <= last:
                    return node
        raise LookupError(f"no node owns slot {slot}")

    def move(self, key: str) -> EmbeddedServer:
        """Move the slot of a key to another node, and return that."""
        slot, source = key_slot(key.encode()), self.master_of(key)
        target = next(node for node in self.nodes if node is not source)
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, target)
        return target

    def begin_move(self, slot: int, source: EmbeddedServer, target: EmbeddedServer) -> None:
        """Start to move a slot: from now on, missing keys are redirected to the target."""
        command(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        command(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))

    def move_keys(self, slot: int, source: EmbeddedServer, target: EmbeddedServer) -> None:
        """Move the keys of a slot that is on its way."""
        while keys := command(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            command(source, "MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, slot: int, target: EmbeddedServer) -> None:
        """Declare that a slot has arrived."""
        owner = node_id(target)
        for node in [target, *(node for node in self.nodes if node is not target)]:
            if command(node, "ROLE")[0] == b"master":
                command(node, "CLUSTER", "SETSLOT", slot, "NODE", owner)

    def _start(self) -> None:
        for _ in range(self._masters * (1 + self._replicas)):
            # Of its own: the default may be one that systems hand to outgoing connections.
            reservation = self._stack.enter_context(reserve_port())
            bus_port = reservation.getsockname()[1]
            server = EmbeddedServer(*self._config, f"cluster-port {bus_port}")
            self.nodes.append(self._stack.enter_context(server))
            self._bus_ports[server] = bus_port
        masters, replicas = self.nodes[: self._masters], self.nodes[self._masters :]
        ends = [at * REDIS_CLUSTER_HASH_SLOTS // self._masters for at in range(self._masters + 1)]
        for epoch, node in enumerate(self.nodes):
            command(node, "CLUSTER", "SET-CONFIG-EPOCH", epoch + 1)
            address = (HOST, node.port, self._bus_ports[node])
            command(self.nodes[0], "CLUSTER", "MEET", *address)
        for position, node in enumerate(masters):
            command(node, "CLUSTER", "ADDSLOTSRANGE", ends[position], ends[position + 1] - 1)
        _until(lambda: all(self._knows_all(node) for node in self.nodes))
        for position, node in enumerate(replicas):
            command(node, "CLUSTER", "REPLICATE", node_id(masters[position % len(masters)]))
        _until(lambda: all(map(self._agrees, self.nodes)))
        _until(lambda: all(map(self._hears_all, self.nodes)))

    def _knows_all(self, node: EmbeddedServer) -> bool:
        return len(_slots(node)) == self._masters and (
            b"cluster_known_nodes:%d\r" % len(self.nodes) in command(node, "CLUSTER", "INFO")
        )

    def _agrees(self, node: EmbeddedServer) -> bool:
        """Return whether a node sees a healthy cluster, and is in sync with its master."""
        behind = any(len(entry) != 3 + self._replicas for entry in _slots(node))
        role = command(node, "ROLE")
        joined = role[0] == b"master" or role[3] == b"connected"
        healthy = b"cluster_state:ok" in command(node, "CLUSTER", "INFO")
        return healthy and joined and not behind

    def _hears_all(self, node: EmbeddedServer) -> bool:
        """Return whether messages that are published at any node reach this one."""
        with node.client() as client, client.pubsub() as pubsub:
            pubsub.subscribe("probe")
            pubsub.get_message(timeout=1)
            for other in self.nodes:
                command(other, "PUBLISH", "probe", "")
                if pubsub.get_message(timeout=1) is None:
                    return False
        return True


def command(node: EmbeddedServer, *words: Any) -> Any:
    """Return what one node replies to a command, as it came over the wire."""
    with node.client() as client:
        client.response_callbacks.clear()
        return client.execute_command(*words)


def listening_node(cluster: EmbeddedCluster, channel: str) -> EmbeddedServer:
    """Return the only node with a subscription to a channel."""
    heard = [channel.encode(), 1]
    [node] = [node for node in cluster.nodes if command(node, "PUBSUB", "NUMSUB", channel) == heard]
    return node


def node_id(node: EmbeddedServer) -> str:
    """Return the name by which the nodes know one."""
    name: str = command(node, "CLUSTER", "MYID").decode()
    return name


def _slots(node: EmbeddedServer) -> Any:
    return command(node, "CLUSTER", "SLOTS")


def _until(agreed: Callable[[], bool]) -> None:
    deadline = time.monotonic() + AGREEMENT
    while not agreed():
        if time.monotonic() > deadline:
            raise TimeoutError("the nodes of the cluster did not agree in time")
        time.sleep(0.02)
