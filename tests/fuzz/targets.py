"""The kinds of data that the layers read from Redis, each with a way to make it hostile.

A target writes a batch of inputs where the layer finds them. Then something good is sent, which
must arrive. Between two batches, all that a hostile server might have destroyed is written again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from channels.exceptions import ChannelFull
from channels.layers import channel_layers
from redis.exceptions import RedisError, ResponseError

from channels_redis_queue._shared.presence.keys import PresenceKeys
from channels_redis_queue._shared.transport.sentinel import find_master
from channels_redis_queue.keys import Keys, non_local, virtual_channel
from channels_redis_queue.presence import Presence
from embedded_server import HOST
from fuzz.hostile import Hostile, resp
from fuzz.replies import HostileServer
from fuzz.watch import done
from support import inside
from support.queue_layers import beside

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from embedded_server import EmbeddedServer

ENCRYPTION_KEYS = ["a key", "the key before it"]
# Without a prefix of random bytes, more of the inputs get as far as the parser.
OPTIONS: dict[str, dict[str, Any]] = {
    "msgpack": {"random_prefix_length": 0},
    "json": {"serializer_format": "json", "random_prefix_length": 0},
    "fernet": {"symmetric_encryption_keys": ENCRYPTION_KEYS},
}


class Consumer:
    """Receives from a channel without end; it must only get dicts."""

    def __init__(self, layer: Any, channel: str) -> None:
        self.layer = layer
        self.channel = channel
        self._found: set[object] = set()
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            message = await self.layer.receive(self.channel)
            assert isinstance(message, dict), f"receive returned {message!r}"
            self.keep(message)

    def keep(self, message: dict[str, Any]) -> None:
        """Note that a message has come."""
        mark = message.get("mark")
        if isinstance(mark, str):
            self._found.add(mark)

    def has_found(self, mark: str) -> bool:
        """Return whether a message with this mark has come."""
        return mark in self._found

    async def until(self, mark: str) -> None:
        """Wait until a message with this mark has come.

        `receive` must not raise meanwhile.
        """
        await done(self._until(mark), "receive")
        self._found.discard(mark)

    async def _until(self, mark: str) -> None:
        while mark not in self._found:
            self.raise_if_ended()
            await asyncio.sleep(0.001)

    def raise_if_ended(self) -> None:
        """Raise what `receive` has raised."""
        if self.task.done():
            self.task.result()


class Scene:
    """A layer with consumers in a group, and a plain client that writes the hostile data."""

    def __init__(self, layer: Any, client: redis.Redis) -> None:
        self.layer = layer
        self.client = client
        self.prefix: str = layer.prefix
        self.consumers: list[Consumer] = []
        self._marks = 0

    async def open(self, *general: str) -> None:
        """Start two consumers with their own channels, and others of general channels."""
        channels = [await self.layer.new_channel() for _ in range(2)]
        self.consumers = [Consumer(self.layer, channel) for channel in (*channels, *general)]
        await self.join()
        await self.check()

    async def join(self) -> None:
        """Make the channels of this process members of the group, again if need be."""
        for consumer in self.own:
            await done(self.layer.group_add("room", consumer.channel), "group_add")

    @property
    def own(self) -> list[Consumer]:
        """The consumers of channels of this process."""
        return self.consumers[:2]

    def own_name(self, group: str) -> str:
        """Return the name that stands for the channels of this process in a group."""
        return virtual_channel(non_local(self.own[0].channel), group)

    async def check(self) -> None:
        """Send something to each channel and to the group, and wait until it has arrived."""
        self._marks += 1
        for consumer in self.consumers:
            mark = f"direct {self._marks}"
            await done(self.layer.send(consumer.channel, {"type": "x", "mark": mark}), "send")
            await consumer.until(mark)
        mark = f"group {self._marks}"
        await done(self.layer.group_send("room", {"type": "x", "mark": mark}), "group_send")
        for consumer in self.own:
            await consumer.until(mark)

    async def close(self) -> None:
        """End the consumers and the layer."""
        for consumer in self.consumers:
            consumer.task.cancel()
        await asyncio.gather(*(one.task for one in self.consumers), return_exceptions=True)
        await done(self.layer.close_pools(), "close_pools")


class Target:
    """One kind of data, and the scene in which it is read.

    Args:
        server: A server that it has for itself.
        seed: The same seed gives the same data.
        layer_class: Makes the layer.
        encoding: One of `OPTIONS`.
    """

    batch = 50
    options: ClassVar[dict[str, Any]] = {}
    # Channels that the process receives from, besides its own.
    general: tuple[str, ...] = ()

    def __init__(
        self, server: EmbeddedServer, seed: object, layer_class: Any, encoding: str = "msgpack"
    ) -> None:
        self.server = server
        self.layer_class = layer_class
        self.encoding = encoding
        self.client = server.client()
        self.hostile = Hostile(seed)
        self.scene: Scene
        # How often the layer has lost its server, which it logs each time.
        self.outages = 0
        # The inputs of the current batch, for a report.
        self.inputs: list[Any] = []

    def host(self) -> Any:
        """Return the entry of `hosts`."""
        return self.server.url

    async def open(self) -> None:
        """Set the scene."""
        layer = self.layer_class(
            hosts=[self.host()],
            prefix="fuzz",
            expiry=5,
            mailbox_bytes=20_000_000,
            **OPTIONS[self.encoding],
            **self.options,
        )
        self.scene = Scene(layer, self.client)
        await self.scene.open(*self.general)
        self.hostile.channels = [consumer.channel for consumer in self.scene.consumers]

    def body(self) -> bytes:
        """Return what may stand where a message is expected."""
        body = self.hostile.body("json" if self.encoding == "json" else "msgpack")
        if self.encoding == "fernet":
            return self.hostile.token(partial(inside.encrypt, self.scene.layer), body)
        return body

    def make(self) -> Any:
        """Return an input."""
        raise NotImplementedError

    async def feed(self, inputs: list[Any]) -> None:
        """Write inputs where the layer reads them, and let it read."""
        raise NotImplementedError

    async def run(self, count: int) -> None:
        """Feed inputs, and check that everything flows."""
        self.inputs = [self.make() for _ in range(count)]
        await self.feed(self.inputs)
        await self.scene.check()

    async def close(self) -> None:
        """End the scene."""
        await self.scene.close()
        self.client.close()


class QueueMessages(Target):
    """Messages in the key of a process, and in that of a general channel."""

    general = ("jobs",)

    def make(self) -> tuple[bytes, float, str]:
        """Return a message, its score and its channel."""
        data = self.body()
        consumer = self.hostile.dice.choice(self.scene.consumers)
        return data, self.hostile.score(time.time()), consumer.channel

    async def feed(self, inputs: list[Any]) -> None:
        """Write the messages, and ring."""
        with self.client.pipeline(transaction=False) as pipeline:
            for data, score, channel in inputs:
                queue = beside(self.scene.layer, channel)
                pipeline.zadd(queue.key, {data: score})
                pipeline.zadd(queue.bell, {"": 0})
            pipeline.execute()


class QueueNames(Target):
    """Names in a group, and members behind the name of a process."""

    batch = 20
    general = ("jobs",)

    def make(self) -> tuple[bytes, float, bool]:
        """Return a name, its score, and whether it stands among the members."""
        name = self.hostile.member()
        if name.startswith(self.scene.own_name("room").encode()):
            # With a score of its own, this would end the memberships of the process.
            name = b"another:g:room"
        return name, self.hostile.score(time.time()), self.hostile.dice.random() < 0.3

    async def feed(self, inputs: list[Any]) -> None:
        """Write the names, use the group in all ways, and remove them."""
        layer, keys = self.scene.layer, Keys(self.scene.prefix)
        members = keys.members(self.scene.own_name("room"))
        self.client.zadd(keys.group("room"), {name: score for name, score, _ in inputs})
        behind = [name for name, _, is_behind in inputs if is_behind]
        if behind:
            self.client.sadd(members, *behind)
        for call in (
            layer.group_send("room", {"type": "x", "mark": "hostile"}),
            layer.group_count("room"),
            layer.group_channels("room"),
        ):
            try:
                await done(call, "a call for a group")
            except ResponseError as error:
                # A name led to a key of another kind, which the error says.
                if "WRONGTYPE" not in str(error):
                    raise
        for consumer in self.scene.own:
            await consumer.until("hostile")
        self.client.delete(keys.group("room"))
        for name in behind:
            self.client.srem(members, name)
        await self.scene.join()


class QueueWrongTypes(Target):
    """Keys of the layer that hold something else, and then are gone."""

    general = ("jobs",)
    batch = 2

    def make(self) -> tuple[int, bytes]:
        """Return the number of a type, and content for it."""
        return self.hostile.dice.randrange(5), self.hostile.raw() or b"x"

    async def feed(self, inputs: list[Any]) -> None:
        """Put something else into some of the keys for a while."""
        keys = sorted(self.client.scan_iter(match=f"{self.scene.prefix}*"))
        changed = []
        for kind, content in inputs:
            key = self.hostile.dice.choice(keys)
            changed.append(key)
            put(self.client, key, kind, content)
        for consumer in self.scene.own:
            bell = beside(self.scene.layer, consumer.channel).bell
            self.client.execute_command("PEXPIRE", bell, 1)
        await asyncio.sleep(0.05)  # long enough to be read, or not
        self.client.delete(*changed)
        await self.scene.join()


def put(client: redis.Redis, key: bytes, kind: int, content: bytes) -> None:
    """Replace a key by one of another type."""
    client.delete(key)
    write: tuple[Callable[[], object], ...] = (
        lambda: client.set(key, content),
        lambda: client.rpush(key, content),
        lambda: client.hset(key, content, content),
        lambda: client.sadd(key, content),
        lambda: client.xadd(key, {content: content}),
    )
    write[kind]()


class PubSubMessages(Target):
    """Messages published to channels and groups."""

    def make(self) -> tuple[bytes, str]:
        """Return a message, and its topic."""
        body = self.body()
        topics = (*self.hostile.channels, f"{self.scene.prefix}__group__room")
        return body, self.hostile.dice.choice(topics)

    async def feed(self, inputs: list[Any]) -> None:
        """Publish the messages."""
        with self.client.pipeline(transaction=False) as pipeline:
            for data, topic in inputs:
                pipeline.publish(topic, data)
            heard = pipeline.execute()
        assert all(heard), "the layer is not subscribed"


class PresenceData(Target):
    """Presence's keys: people, heartbeats, groups."""

    batch = 10
    presence: Any
    meta = 0

    async def open(self) -> None:
        """Set the scene, and let a person be present."""
        await super().open()
        channel_layers.set("fuzz", self.scene.layer)
        self.presence = Presence("fuzz", grace=0.1)
        self.keys = PresenceKeys(self.scene.layer.presence_key_head)
        for consumer in self.scene.own:
            await done(self.presence.track("room", consumer.channel, consumer.channel), "track")

    def make(self) -> tuple[int, bytes, bytes, float]:
        """Return where to write, a name, content for it, and a score."""
        kind = self.hostile.dice.randrange(5)
        return kind, self.hostile.member(), self.hostile.metas(), self.hostile.score(time.time())

    async def feed(self, inputs: list[Any]) -> None:
        """Write into the keys, use presence in all ways, and remove what was written."""
        for kind, name, content, score in inputs:
            self._write(kind, name, content, score)
        person = self.scene.own[0].channel
        # Always another one, so that the person is written again.
        self.meta += 1
        await done(self.presence.track("room", person, person, self.meta), "track")
        people = await done(self.presence.list("room"), "list")
        assert person in people
        await done(self.presence.count("room"), "count")
        self.client.delete(self.keys.people("room"), self.keys.heartbeats)

    def _write(self, kind: int, name: bytes, content: bytes, score: float) -> None:
        keys, client = self.keys, self.client
        writes: tuple[Callable[[], object], ...] = (
            lambda: client.hset(keys.people("room"), name, content),
            lambda: client.hset(keys.people("room"), "", content),
            lambda: client.hset(keys.people("room"), name or b"x", b"dead" + content),
            lambda: client.zadd(keys.heartbeats, {name: score}),
            lambda: client.hset(keys.groups, name, content),
        )
        writes[kind]()
        client.hset(keys.groups, "room", 1)
        client.zadd(keys.heartbeats, {"dead": 1})


class Replies(Target):
    """Replies of a server about itself and others, while connections are opened."""

    # Some of them end only with the deadline.
    batch = 20
    words: tuple[bytes, ...] = (b"HELLO",)
    # True if the good reply is made up, as the server has none.
    plays = False
    hostile_server: HostileServer

    async def open(self) -> None:
        """Set the scene behind a server that replies as it should."""
        self.hostile_server = await HostileServer(self.server.port).start()
        self.hostile_server.answer = self._answer_well
        await super().open()

    def host(self) -> dict[str, Any]:
        """Return a server."""
        return {
            "address": f"redis://{HOST}:{self.hostile_server.port}",
            "socket_connect_timeout": 0.3,
        }

    def valid(self) -> list[Any]:
        """Return a reply as it should be, to be made hostile."""
        modules: list[Any] = [b"modules", []]
        return [b"server", b"redis", b"version", b"7.2.0", b"proto", 3, b"id", 1, b"mode",
                b"standalone", b"role", b"master", *modules]  # fmt: skip

    async def ask(self) -> None:
        """Do what sends the command."""
        connector = inside.connector(self.scene.layer)
        connection = await connector.open()
        connection.close()

    def make(self) -> bytes:
        """Return a reply."""
        return self.hostile.reply(self.valid())

    async def feed(self, inputs: list[Any]) -> None:
        """Reply in all these ways; a caller gets an error of redis-py, or a connection."""
        for reply in inputs:
            self._answer_with(reply)
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                await done(self.ask(), "connecting")
        # And to a layer that has just lost its connections.
        left = [self.hostile.dice.choice(inputs)]
        self.hostile_server.answer = lambda words: (
            left.pop() if left and self._is_asked(words) else self._answer_well(words)
        )
        self.outages += 1
        await self.hostile_server.drop()
        await done(self._until_used(left), "reconnecting")
        # Sends may fail until the layer is connected again.
        await done(self._until_it_flows(), "receive")

    async def _until_used(self, left: list[Any]) -> None:
        while left:
            await asyncio.sleep(0.01)
            self._raise_if_ended()

    async def _until_it_flows(self) -> None:
        """Send until everything arrives: what Pub/Sub is sent before it is back, is lost."""
        mark = f"again {self.outages}"
        missing = list(self.scene.consumers)
        while missing:
            # Until the receiver is back, the messages may fill its key.
            with contextlib.suppress(RedisError, OSError, ChannelFull):
                await self.scene.layer.group_send("room", {"type": "x", "mark": mark})
                for consumer in missing:
                    await self.scene.layer.send(consumer.channel, {"type": "x", "mark": mark})
            await asyncio.sleep(0.05)
            self._raise_if_ended()
            missing = [consumer for consumer in missing if not consumer.has_found(mark)]

    async def close(self) -> None:
        """End the scene and its server."""
        await super().close()
        await self.hostile_server.close()

    def _raise_if_ended(self) -> None:
        for consumer in self.scene.consumers:
            consumer.raise_if_ended()

    def _is_asked(self, words: list[bytes]) -> bool:
        return tuple(word.upper() for word in words[: len(self.words)]) == self.words

    def _answer_well(self, words: list[bytes]) -> bytes | None:
        return resp(self.valid()) if self.plays and self._is_asked(words) else None

    def _answer_with(self, reply: bytes) -> None:
        self.hostile_server.answer = lambda words: reply if self._is_asked(words) else None


class SentinelReplies(Replies):
    """Replies to SENTINEL MASTERS."""

    words = (b"SENTINEL", b"MASTERS")
    plays = True

    def host(self) -> dict[str, Any]:
        """Return a host that a Sentinel knows."""
        return {
            "sentinels": [(HOST, self.hostile_server.port)],
            "master_name": "main",
            "socket_connect_timeout": 0.3,
        }

    def valid(self) -> list[Any]:
        """Return two masters."""
        port = str(self.hostile_server.port).encode()
        return [
            [b"name", name, b"ip", HOST.encode(), b"port", port, b"flags", b"master"]
            for name in (b"main", b"other")
        ]

    async def ask(self) -> None:
        """Ask for the master."""
        await find_master(inside.connector(self.scene.layer).host)


class ClusterReplies(Replies):
    """Replies to CLUSTER SLOTS; the one server plays all nodes."""

    words = (b"CLUSTER", b"SLOTS")
    plays = True

    def host(self) -> dict[str, Any]:
        """Return a Cluster of one node."""
        return {"cluster": [(HOST, self.hostile_server.port)], "socket_connect_timeout": 0.3}

    def valid(self) -> list[Any]:
        """Return the owners of slots."""
        node = [HOST.encode(), self.hostile_server.port, b"id", []]
        return [[0, 8000, node, node], [8001, 16383, node]]

    async def ask(self) -> None:
        """Ask for the owners."""
        await inside.connector(self.scene.layer).learn()
