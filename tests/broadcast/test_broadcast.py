"""Broadcasts go to the sockets at once, in the order and with the errors of ordinary handlers."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.layers import InMemoryChannelLayer

from channels_redis_queue.broadcast import Broadcasts, broadcast
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcast.sites import Socket

    Connect = Callable[[Any], Socket]

built: list[int] = []


def count(event: dict[str, Any]) -> int:
    """Return the number of a message, or raise if there is none; note the call."""
    built.append(event["number"])
    return int(event["number"])


class AsyncJson(Broadcasts, AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends JSON, and has a handler that takes its time."""

    groups = ("room",)

    @broadcast
    def quick(event: dict[str, Any]) -> Any:  # noqa: N805 - no self
        """Send the number."""
        return {"number": count(event)}

    async def slow(self, event: dict[str, Any]) -> None:
        """Do the same, with pauses before and between."""
        for _ in range(event["number"] % 3):
            await asyncio.sleep(0)
        await self.send_json({"number": event["number"]})
        await asyncio.sleep(0)
        await self.send_json("slow")

    async def receive_json(self, content: Any, **_: Any) -> None:
        """Answer after a pause."""
        await asyncio.sleep(0)
        await self.send_json(content)


class AsyncText(Broadcasts, AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends the same as text."""

    groups = ("room",)

    @broadcast
    def quick(event: dict[str, Any]) -> Any:  # noqa: N805
        """Send the number."""
        return json.dumps({"number": count(event)})

    async def slow(self, event: dict[str, Any]) -> None:
        """Do the same, with a pause."""
        await self.send(text_data=json.dumps({"number": event["number"]}))
        await asyncio.sleep(0)
        await self.send(text_data='"slow"')


class SyncJson(Broadcasts, JsonWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends JSON from a thread."""

    groups = ("room",)

    @broadcast
    def quick(event: dict[str, Any]) -> Any:  # noqa: N805
        """Send the number."""
        return {"number": count(event)}

    def slow(self, event: dict[str, Any]) -> None:
        """Do the same."""
        self.send_json({"number": event["number"]})
        self.send_json("slow")


class SyncText(Broadcasts, WebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends text from a thread."""

    groups = ("room",)

    @broadcast
    def quick(event: dict[str, Any]) -> Any:  # noqa: N805
        """Send the number."""
        return json.dumps({"number": count(event)})

    def slow(self, event: dict[str, Any]) -> None:
        """Do the same."""
        self.send(text_data=json.dumps({"number": event["number"]}))
        self.send(text_data='"slow"')


CONSUMERS = [AsyncJson, AsyncText, SyncJson, SyncText]


async def shows(socket: Socket, expected: list[Any]) -> None:
    """Wait until a socket has as many frames as expected, and compare them."""
    await eventually(lambda: len(socket.frames) >= len(expected))
    assert [json.loads(frame) for frame in socket.frames] == expected


def number(value: int) -> dict[str, int]:
    """Return what a browser gets for a message."""
    return {"number": value}


class Scene:
    """Members of a room who come and go, and the frames that each has to get."""

    def __init__(self, layer: Any, sender: Any, connect: Callable[[], Socket], seed: int) -> None:
        self.layer = layer
        self.sender = sender
        self.connect = connect
        self.random = random.Random(seed)
        self.expected: dict[Socket, list[Any]] = {}
        self.members: dict[Socket, None] = {}

    async def play(self, steps: int) -> None:
        """Do something at random, many times."""
        for _ in range(3):
            await self.join()
        for at in range(steps):
            if self.random.random() < 0.85:
                await self.send(at)
            else:
                await self.settle()
                await self.random.choice(
                    [self.join, self.join, self.leave, self.disconnect, self.fail]
                )()
        await self.settle()

    async def settle(self) -> None:
        """Wait until all members have all frames."""
        for socket in self.members:
            await shows(socket, self.expected[socket])
            await socket.opened()

    async def send(self, at: int) -> None:
        """Send a message that a broadcast, or another handler, is for."""
        kind = "quick" if self.random.random() < 0.8 else "slow"
        await self.sender.group_send("room", {"type": kind, "number": at})
        for socket in self.members:
            self.expected[socket] += [number(at), "slow"] if kind == "slow" else [number(at)]

    async def join(self) -> None:
        """Connect one more, some of them with a slow socket."""
        socket = self.connect()
        if self.random.random() < 0.5:
            socket.before_write = self.pause
        await socket.opened()
        self.members[socket] = None
        self.expected[socket] = []

    async def pause(self) -> None:
        """Take some turns of the event loop."""
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)

    async def leave(self) -> None:
        """Take a member out of the room."""
        for socket in self.choose():
            await self.layer.group_discard("room", socket.consumer.channel_name)

    async def disconnect(self) -> None:
        """Close a member's WebSocket."""
        for socket in self.choose():
            await socket.disconnect()

    async def fail(self) -> None:
        """Send what no frame can be built of, which ends all members."""
        await self.sender.group_send("room", {"type": "quick"})
        for socket in self.members:
            await eventually(socket.task.done)
            with pytest.raises(KeyError):
                await socket.task
        self.members.clear()

    def choose(self) -> list[Socket]:
        """Return one that is no longer a member, if there is one."""
        chosen = self.random.sample(list(self.members), min(1, len(self.members)))
        for socket in chosen:
            del self.members[socket]
        return chosen


@pytest.mark.parametrize("way", ["at once", "by handlers"])
@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_same_frames_in_the_same_order(
    make_layer: Callable[..., Any],
    use_layer: Callable[[Any], Any],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    consumer: Any,
    seed: int,
    way: str,
) -> None:
    """Under joins, leaves, slow sockets, waiting handlers, disconnects and failing functions."""
    if way == "by handlers":
        monkeypatch.setattr("channels_redis_queue._shared.broadcast.BroadcastSink.write", refuse)
    layer = use_layer(make_layer())
    scene = Scene(layer, make_layer(), lambda: connect(consumer), seed)
    await scene.play(120)
    for socket, expected in scene.expected.items():
        assert [json.loads(frame) for frame in socket.frames] == expected
    if way == "at once":
        assert layer.statistics().broadcasts > 0
    else:
        assert layer.statistics().broadcasts == 0


def refuse(*_: object) -> bool:
    """Leave a message to the handler."""
    return False


@pytest.mark.parametrize("consumer", CONSUMERS)
async def test_frame_is_built_once(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect, consumer: Any
) -> None:
    """One call of the function serves all idle consumers of the process."""
    layer = use_layer(make_layer())
    sockets = [connect(consumer) for _ in range(20)]
    for socket in sockets:
        await socket.opened()
    built.clear()
    await make_layer().group_send("room", {"type": "quick", "number": 7})
    for socket in sockets:
        await shows(socket, [number(7)])
    assert built == [7]
    found = layer.statistics()
    assert (found.broadcasts, found.waiting) == (20, 0)


async def test_burst(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect
) -> None:
    """Messages that come together go the quick way together."""
    layer, sender = use_layer(make_layer()), make_layer()
    sockets = [connect(AsyncJson) for _ in range(5)]
    for socket in sockets:
        await socket.opened()
    await asyncio.gather(
        *(sender.group_send("room", {"type": "quick", "number": at}) for at in range(50))
    )
    for socket in sockets:
        await shows(socket, [number(at) for at in range(50)])
    assert layer.statistics().broadcasts == 250


async def test_slow_socket_harms_no_other(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect
) -> None:
    """Frames beyond its buffer wait, then messages in its mailbox; all arrive."""
    layer, sender = use_layer(make_layer()), make_layer()
    stuck, quick = connect(AsyncJson), connect(AsyncJson)
    await stuck.opened()
    await quick.opened()
    release = asyncio.Event()
    stuck.before_write = release.wait
    for at in range(150):
        await sender.group_send("room", {"type": "quick", "number": at})
    await shows(quick, [number(at) for at in range(150)])
    assert stuck.frames == []
    assert layer.statistics().waiting > 0
    release.set()
    await shows(stuck, [number(at) for at in range(150)])


async def test_error_of_one_socket_ends_its_consumer_alone(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect
) -> None:
    """It is raised out of the consumer, as one in a handler is."""
    use_layer(make_layer())
    broken, others = connect(AsyncJson), [connect(AsyncJson) for _ in range(3)]
    for socket in (broken, *others):
        await socket.opened()

    async def fail() -> None:
        raise BrokenPipeError("gone")

    broken.before_write = fail
    await make_layer().group_send("room", {"type": "quick", "number": 1})
    await eventually(lambda: broken.ended)
    with pytest.raises(BrokenPipeError, match="gone"):
        await broken.task
    for socket in others:
        await shows(socket, [number(1)])
        assert not socket.ended


async def test_error_of_the_function_is_logged_once(
    make_layer: Callable[..., Any],
    use_layer: Callable[[Any], Any],
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And raised in each consumer, as in a handler."""
    use_layer(make_layer())
    sockets = [connect(AsyncJson) for _ in range(3)]
    for socket in sockets:
        await socket.opened()
    await make_layer().group_send("room", {"type": "quick"})
    for socket in sockets:
        await eventually(socket.task.done)
        with pytest.raises(KeyError):
            await socket.task
    logged = [each.getMessage() for each in caplog.records]
    assert logged == ["The broadcast AsyncJson.quick failed"]


async def test_excluded(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect
) -> None:
    """An excluded channel gets no frame."""
    layer, sender = use_layer(make_layer()), make_layer()
    ada, bob = connect(AsyncJson), connect(AsyncJson)
    await ada.opened()
    await bob.opened()
    message = {"type": "quick", "number": 1}
    await sender.group_send("room", message, exclude=[ada.consumer.channel_name])
    await sender.group_send("room", {"type": "quick", "number": 2})
    await shows(bob, [number(1), number(2)])
    await shows(ada, [number(2)])
    assert layer.statistics().broadcasts == 3


async def test_nothing_to_send(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect
) -> None:
    """A function that returns None sends no frame."""

    class Even(Broadcasts, AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
        groups = ("room",)

        @broadcast
        def quick(event: dict[str, Any]) -> Any:  # noqa: N805
            return None if event["number"] % 2 else bytes([event["number"]])

    layer, sender = use_layer(make_layer()), make_layer()
    socket = connect(Even)
    await socket.opened()
    for at in range(5):
        await sender.group_send("room", {"type": "quick", "number": at})
    await eventually(lambda: len(socket.frames) == 3)
    assert socket.frames == [b"\0", b"\2", b"\4"]
    assert layer.statistics().broadcasts == 5


@pytest.mark.parametrize("consumer", CONSUMERS)
async def test_any_other_layer(
    use_layer: Callable[[Any], Any], connect: Connect, consumer: Any
) -> None:
    """The handlers send the same frames."""
    layer = use_layer(InMemoryChannelLayer())
    sockets = [connect(consumer) for _ in range(3)]
    for socket in sockets:
        await socket.opened()
    for at in range(3):
        await layer.group_send("room", {"type": "quick", "number": at})
    for socket in sockets:
        await shows(socket, [number(at) for at in range(3)])


async def test_own_encoding(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect
) -> None:
    """`encode_json` of the consumer is what encodes."""

    class Short(AsyncJson):
        @classmethod
        async def encode_json(cls, content: Any) -> str:
            return json.dumps(content, separators=(",", ":"))

    use_layer(make_layer())
    socket = connect(Short)
    await socket.opened()
    await make_layer().group_send("room", {"type": "quick", "number": 1})
    await eventually(lambda: socket.frames == ['{"number":1}'])


async def test_end_leaves_nothing_behind(
    make_layer: Callable[..., Any], use_layer: Callable[[Any], Any], connect: Connect
) -> None:
    """A consumer that has ended is forgotten."""
    layer = use_layer(make_layer())
    socket = connect(AsyncJson)
    await socket.opened()
    sinks = layer._broker.get().consumers.mailboxes._sinks
    assert list(sinks) == [socket.consumer.channel_name]
    await socket.disconnect()
    assert not sinks


def test_wrong_functions() -> None:
    """A function with `self`, or a coroutine function, is refused."""
    with pytest.raises(TypeError, match="must be a plain function of the event alone"):

        @broadcast  # type: ignore[arg-type]
        def with_self(self: Any, event: dict[str, Any]) -> Any:
            return self, event

    with pytest.raises(TypeError, match="must be a plain function of the event alone"):

        @broadcast
        async def waits(event: dict[str, Any]) -> Any:
            return event


@pytest.mark.parametrize("name", ["send", "send_json", "dispatch"])
def test_bypassed_override(name: str) -> None:
    """A class whose own way of sending would be passed by is refused, with what to do."""
    with pytest.raises(TypeError, match=f"Own overrides {name}, which broadcasts do not go"):
        type("Own", (AsyncJson,), {name: lambda *_: None})
    base = type("Base", (AsyncJsonWebsocketConsumer,), {name: lambda *_: None})
    attributes = {"quick": broadcast(count)}
    if name != "dispatch":
        with pytest.raises(TypeError, match="by way of Base, which broadcasts"):
            type("Own", (Broadcasts, base), attributes)


def test_wrong_order_of_bases() -> None:
    """Named after the consumer's class, the mixin would do nothing."""
    with pytest.raises(TypeError, match="must name Broadcasts before the consumer's class"):
        type("Own", (AsyncJsonWebsocketConsumer, Broadcasts), {"quick": broadcast(count)})
