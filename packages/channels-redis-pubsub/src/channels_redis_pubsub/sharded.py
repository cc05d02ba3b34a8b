"""Sharded Pub/Sub: subscribes at the nodes that own the topics' slots, as if that were one server.

A `ShardedLink` has the interface of a `Link` on which SUBSCRIBE is spoken. When anything is wrong
at one node, the whole is lost, and who listens is told: it is one host, as a single server is.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import ClusterDownError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ._shared.cluster import Cluster, slot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.cluster import Address
    from ._shared.connections import Connector
    from ._shared.links import Link

    Request = tuple[bytes, ...]

# Seconds between two looks at a node's connection. One on which nothing came between two looks is
# probed, and lost if nothing came until the next one either.
LOOK = 5.0

_MEANT = {b"ssubscribe": b"subscribe", b"sunsubscribe": b"unsubscribe"}


@dataclass(eq=False)
class _Question:
    """A topic in a request, and what its node has answered."""

    request: Request
    answer: Any = None


@dataclass(eq=False)
class _Node:
    """The connection to one node."""

    link: Link
    reading: asyncio.Future[None]
    # What it has to answer, in order; None stands for a probe.
    owes: deque[_Question | None] = field(default_factory=deque)
    # Whether nothing came since the last look; and whether it was to answer something then.
    is_quiet: bool = False
    is_late: bool = False


class ShardedConnector:
    """Opens connections for sharded Pub/Sub.

    Args:
        connector: The way to the host; a single server is taken for the owner of all slots.
    """

    def __init__(self, connector: Connector) -> None:
        self.host = connector.host
        self._connector = connector

    async def open(self) -> ShardedLink:
        """Return what opens a connection to each node as soon as it is needed.

        Raises:
            redis.exceptions.RedisError: The Cluster can't be asked who owns what.
        """
        if isinstance(self._connector, Cluster):
            await self._connector.learn()
        return ShardedLink(self)

    def owner(self, topic: bytes) -> Address:
        """Return the node that owns a topic's slot."""
        if not isinstance(self._connector, Cluster):
            return ("", 0)
        slot = slot_of(topic.decode())
        owner = self._connector.owner(slot)
        if owner is None:
            raise ClusterDownError(f"no node of the {self.host} owns slot {slot}")
        return owner

    async def open_node(self, address: Address) -> Link:
        """Return a new, ready connection to a node."""
        if isinstance(self._connector, Cluster):
            return await self._connector.node(address).open()
        return await self._connector.open()


class ShardedLink:
    """The connections to the nodes that own the topics' slots."""

    def __init__(self, connector: ShardedConnector) -> None:
        self._connector = connector
        self._nodes: dict[Address, _Node] = {}
        # Where each topic was subscribed to.
        self._places: dict[bytes, Address] = {}
        # What the listener has no answer to, in order.
        self._asked: deque[_Question] = deque()
        self._handle: Callable[[Any], object] | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # In an empty context: it outlives the consumer that started it.
        self._watching = contextvars.Context().run(asyncio.ensure_future, self._watch())
        # It ends with its event loop, also with one that is closed without a word to its tasks.
        self._watching._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001

    def listen(self, handle: Callable[[Any], object]) -> asyncio.Future[None]:
        """Call `handle` with all that comes, as from one server that answers in order.

        Returns:
            A future that raises when a node's connection is lost, or a slot has moved.
        """
        self._handle = handle
        return self._ended

    async def write(self, requests: Sequence[Request]) -> None:
        """Send the requests, to each node in one write."""
        try:
            for address, commands in self._commands(requests).items():
                node = self._nodes.get(address) or await self._open(address)
                node.owes.extend(question for question, _ in commands)
                await node.link.write([command for _, command in commands])
            self._hand_on()
        except Exception as error:
            self._end(error)
            raise

    async def close(self) -> None:
        """Close all connections."""
        self._watching.cancel()
        for node in self._nodes.values():
            node.reading.cancel()
        await asyncio.gather(*(node.link.close() for node in self._nodes.values()))

    def abandon(self) -> None:
        """Drop the connections without a word: their event loop is closed."""
        for node in self._nodes.values():
            node.link.abandon()

    def _commands(
        self, requests: Sequence[Request]
    ) -> dict[Address, list[tuple[_Question, Request]]]:
        """Return the commands for each node: one for each topic, as each has a slot of its own."""
        by_node: dict[Address, list[tuple[_Question, Request]]] = {}
        for request in requests:
            verb, *topics = request
            if verb == b"PING":
                # Each node is probed here.
                self._asked.append(_Question(request, b"PONG"))
            for topic in topics:
                if verb == b"SUBSCRIBE":
                    self._places[topic] = self._connector.owner(topic)
                    place = self._places[topic]
                else:
                    place = self._places.pop(topic)
                question = _Question(request)
                self._asked.append(question)
                by_node.setdefault(place, []).append((question, (b"S" + verb, topic)))
        return by_node

    async def _open(self, address: Address) -> _Node:
        link = await self._connector.open_node(address)
        reading = link.listen(partial(self._arrived, address))
        self._nodes[address] = node = _Node(link, reading)
        reading.add_done_callback(self._node_ended)
        return node

    def _arrived(self, address: Address, reply: Any) -> None:
        node = self._nodes[address]
        node.is_quiet = False
        kind = reply[0] if isinstance(reply, list) else None
        if kind == b"smessage":
            self._tell([b"message", *reply[1:]])
            return
        if not node.owes:
            # Unasked, the node ends the subscriptions in a slot that it has given away.
            raise RedisConnectionError(f"node {address[0]}:{address[1]} sent {reply!r} unasked")
        question = node.owes.popleft()
        if question is not None:
            question.answer = [_MEANT[kind], *reply[1:]] if kind in _MEANT else reply
            self._hand_on()

    def _hand_on(self) -> None:
        """Give the listener what is answered, in the order in which it asked."""
        while self._asked and self._asked[0].answer is not None:
            question = self._asked.popleft()
            if isinstance(question.answer, RedisError):
                # One request, one error: the answers to its other topics don't count.
                while self._asked and self._asked[0].request is question.request:
                    self._asked.popleft()
            self._tell(question.answer)

    def _tell(self, reply: Any) -> None:
        if self._handle is not None and not self._ended.done():
            self._handle(reply)

    async def _watch(self) -> None:
        """Probe nodes that are quiet; end when one does not answer."""
        try:
            while True:
                await asyncio.sleep(LOOK)
                for address, node in list(self._nodes.items()):
                    if node.is_quiet and node.is_late:
                        raise RedisTimeoutError(f"node {address[0]}:{address[1]} has gone silent")
                    if node.is_quiet and not node.owes:
                        node.owes.append(None)
                        await node.link.write([(b"PING",)])
                    node.is_quiet, node.is_late = True, bool(node.owes)
        except (RedisError, OSError) as error:
            self._end(error)

    def _node_ended(self, reading: asyncio.Future[None]) -> None:
        error = None if reading.cancelled() else reading.exception()
        if error is not None:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            # Who listened may be gone: then nobody retrieves it, and that is no fault.
            self._ended.exception()
