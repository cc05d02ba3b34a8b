"""Broadcasts go to the sockets at once, in the order and with the errors of ordinary handlers."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from channels.consumer import AsyncConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.layers import InMemoryChannelLayer

from broadcast.sites import Socket
from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from channels_redis_queue._shared.concurrency import timeout
from channels_redis_queue.broadcast import Broadcasts, broadcast
from support import inside
from support.default_layer import default_layer
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Socket]]

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


@broadcast
def text(event: dict[str, Any]) -> Any:
    """Send the number as text."""
    return json.dumps({"number": count(event)})


class SyncText(Broadcasts, WebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends text from a thread."""

    groups = ("room",)
    quick = text

    def slow(self, event: dict[str, Any]) -> None:
        """Do the same."""
        self.send(text_data=json.dumps({"number": event["number"]}))
        self.send(text_data='"slow"')


CONSUMERS = [AsyncJson, SyncText]


async def shows(socket: Socket, expected: list[Any]) -> None:
    """Wait until a socket has as many frames as expected, and compare them."""
    await eventually(lambda: len(socket.frames) >= len(expected))
    assert [json.loads(frame) for frame in socket.frames] == expected


def number(value: int) -> dict[str, int]:
    """Return what a browser gets for a message."""
    return {"number": value}


async def send(layer: Any, *numbers: int) -> None:
    """Send messages that a broadcast is for."""
    for at in numbers:
        await layer.group_send("room", {"type": "quick", "number": at})


class Scene:
    """Members of a room who come and go, and the frames that each has to get."""

    def __init__(self, layer: Any, sender: Any, connect: Connect, seed: int) -> None:
        self.layer = layer
        self.sender = sender
        self.connect = connect
        self.random = random.Random(seed)
        self.expected: dict[Socket, list[Any]] = {}
        self.members: dict[Socket, None] = {}
        self.failures = 0

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
        is_slow = self.random.random() < 0.5
        socket = await self.connect(before_write=self.pause if is_slow else None)
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
        self.failures += bool(self.members)
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


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_same_frames_in_the_same_order(
    layer: Any,
    sender: Any,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    consumer: Any,
    seed: int,
) -> None:
    """Under joins, leaves, slow sockets, disconnects and failing functions, logged once each."""
    scene = Scene(layer, sender, partial(connect, consumer), seed)
    await scene.play(120)
    for socket, expected in scene.expected.items():
        assert [json.loads(frame) for frame in socket.frames] == expected
    assert layer.statistics().broadcasts > 0
    assert sum(text.startswith("The broadcast ") for text in caplog.messages) == scene.failures


@pytest.mark.parametrize("consumer", CONSUMERS)
async def test_frame_is_built_once(
    layer: Any, sender: Any, connect: Connect, consumer: Any
) -> None:
    """One call of the function serves all idle consumers of the process."""
    sockets = [await connect(consumer) for _ in range(20)]
    built.clear()
    await send(sender, 7)
    for socket in sockets:
        await shows(socket, [number(7)])
    assert built == [7]
    found = layer.statistics()
    assert (found.broadcasts, found.waiting) == (20, 0)


@pytest.mark.parametrize("browser", ["is silent", "speaks", "leaves"])
async def test_messages_that_waited_for_a_handler(
    layer: Any, sender: Any, connect: Connect, browser: str
) -> None:
    """They go the quick way, after the browser's next message; and nothing follows its end."""
    busy = await connect(Busy)
    busy.receive("null")
    await eventually(lambda: busy.consumer.is_busy)
    await send(sender, *range(9))
    # One is in the consumer's hands, and is sent by its handler.
    await eventually(lambda: layer.statistics().waiting == 8)
    waited = [number(at) for at in range(1, 9)]
    if browser == "speaks":
        busy.receive('"answer"')
    elif browser == "leaves":
        busy.leave()
        waited = []
    busy.consumer.release.set()
    await shows(busy, [number(0), *["answer"] * (browser == "speaks"), *waited])
    await eventually(lambda: busy.ended == (browser == "leaves"))
    assert len(busy.frames) == 1 + len(waited) + (browser == "speaks")
    # That behind the answer is in its hands, too.
    assert layer.statistics().broadcasts == len(waited) - (browser == "speaks")


class Busy(AsyncJson):
    """Waits until it is released when the browser says nothing, and echoes what else it says."""

    is_busy = False

    async def receive_json(self, content: Any, **_: Any) -> None:
        """Wait, or echo."""
        if content is not None:
            await self.send_json(content)
            return
        self.release = asyncio.Event()
        self.is_busy = True
        await self.release.wait()


async def test_slow_socket(layer: Any, sender: Any, connect: Connect) -> None:
    """One frame waits for it, and the rest in its mailbox; its browser is answered in between."""
    slow, quick, writes = await connect(AsyncJson), await connect(AsyncJson), asyncio.Semaphore(0)
    slow.before_write = writes.acquire
    numbers = [number(at) for at in range(150)]
    await send(sender, *range(150))
    await shows(quick, numbers)
    assert layer.statistics().waiting == 149
    slow.receive('"answer"')
    for expected in ([], [number(0)], [number(0), "answer"]):
        await shows(slow, expected)
        writes.release()
    slow.before_write = None
    await shows(slow, [number(0), "answer", *numbers[1:]])


class Told(AsyncJson):
    """Sends the notice of lost messages, too."""

    async def lost(self, event: dict[str, Any]) -> None:
        """Send how many."""
        await self.send_json({"lost": event["lost"]})


@pytest.mark.parametrize(
    ("layer_class", "options"),
    [
        (RedisChannelLayer, {"expiry": 1}),
        (RedisChannelLayer, {"mailbox_bytes": 10_000}),
        (RedisPubSubChannelLayer, {"capacity": 3}),
    ],
    indirect=["layer_class"],
)
async def test_bounds_of_a_slow_socket(
    make_layer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, options: dict[str, int]
) -> None:
    """Messages for it expire or find no room, are counted, and their number is told in place."""
    monkeypatch.setattr("channels_redis_queue.maintenance.CHECK_INTERVAL", 0.4)
    with default_layer(make_layer(**options, on_overflow="lost")) as layer:
        socket, release = Socket(Told), asyncio.Event()
        socket.before_write = release.wait
        await socket.opened()
        await send(layer, *range(50))

        def lost() -> int:
            found = layer.statistics()
            # All or none have expired, and one frame is under way.
            lost: int = found.dropped.expired or found.dropped.mailbox_full
            is_all = found.dropped.expired in {0, 49} and lost == 49 - int(found.waiting)
            return lost if is_all else 0

        await eventually(lost)
        first = lost() + 1
        release.set()
        expected = [number(0), {"lost": first - 1}, *(number(at) for at in range(first, 50))]
        await shows(socket, expected)
        await socket.disconnect()


async def test_tasks(layer: Any, connect: Connect) -> None:
    """One writes to all sockets, and one to each that it has to wait for, whatever is cancelled."""
    sockets = [await connect(AsyncJson) for _ in range(9)]
    release = asyncio.Event()
    sockets[3].before_write = sockets[6].before_write = release.wait
    before = asyncio.all_tasks()
    for socket in sockets:
        put_here(layer, socket)
    (first,) = asyncio.all_tasks() - before
    first.cancel()
    await eventually(lambda: sum(len(socket.frames) for socket in sockets) == 7)
    assert len(asyncio.all_tasks() - before) == 2
    release.set()
    for socket in sockets:
        await shows(socket, [number(1)])
    assert asyncio.all_tasks() == before


user: ContextVar[str] = ContextVar("user")


async def test_send_runs_as_in_a_task_of_its_consumer(layer: Any, connect: Connect) -> None:
    """It sees the consumer's context before and after it waits, and may use a timeout."""
    seen: dict[str, list[str]] = {}

    async def send(name: str, wait: float) -> None:
        seen.setdefault(name, []).append(user.get())
        async with timeout(10):
            await asyncio.sleep(wait)
        seen[name].append(user.get())

    sockets = []
    for name, wait in (("ada", 0), ("bob", 0.01), ("eve", 0)):
        user.set(name)
        sockets.append(await connect(AsyncJson, partial(send, name, wait)))
    user.set("other")
    for socket in sockets:
        put_here(layer, socket)
    for socket in sockets:
        await shows(socket, [number(1)])
    assert seen == {name: [name, name] for name in ("ada", "bob", "eve")}


async def give_up() -> None:
    """Raise a timeout, which cancels what it ends."""
    async with timeout(0.01):
        await asyncio.Event().wait()


async def fail(error: type[BaseException]) -> None:
    """Raise an error."""
    raise error


@pytest.mark.parametrize(
    ("send", "error"),
    [
        (partial(fail, BrokenPipeError), BrokenPipeError),
        (partial(fail, asyncio.CancelledError), asyncio.CancelledError),
        (give_up, asyncio.TimeoutError),
    ],
)
async def test_error_of_one_socket_ends_its_consumer_alone(
    layer: Any, connect: Connect, send: Any, error: type[BaseException]
) -> None:
    """It is raised out of the consumer, as one in a handler is."""
    broken, others = await connect(AsyncJson), [await connect(AsyncJson) for _ in range(3)]
    broken.before_write = send
    for socket in (broken, *others):
        put_here(layer, socket)
    await eventually(lambda: broken.ended)
    with pytest.raises(error):
        await broken.task
    for socket in others:
        await shows(socket, [number(1)])
        assert not socket.ended


def put_here(layer: Any, socket: Socket) -> None:
    """Put a message for a broadcast into a socket's channel, in this turn of the event loop."""
    mailboxes = inside.mailboxes(layer)
    message = serializers_of(layer).DecodedMessage(b"", dict, {"type": "quick", "number": 1})
    mailboxes.put([socket.consumer.channel_name], message, size=10)


def serializers_of(layer: Any) -> Any:
    """Return the module of a layer's messages, of which each package has one."""
    package = type(layer).__module__.partition(".")[0]
    return sys.modules[f"{package}._shared.messages.serializers"]


async def test_error_after_the_browser_has_gone(layer: Any, connect: Connect) -> None:
    """A consumer that has its disconnect in the same turn ends with that, without an error."""
    socket = await connect(AsyncJson)
    socket.before_write = partial(fail, BrokenPipeError)
    socket.leave()
    put_here(layer, socket)
    await eventually(lambda: socket.ended)
    await socket.task


@pytest.mark.parametrize("end", ["disconnect", "error"])
async def test_nothing_is_written_after_the_last_handler(
    layer: Any, connect: Connect, end: str
) -> None:
    """Between its end and that of the consumer, messages come to nothing, as in Channels."""
    ended = asyncio.Event()

    class Ends(AsyncJson):
        async def receive_json(self, content: Any, **_: Any) -> None:
            ended.set()
            raise ValueError(content)

        async def disconnect(self, _: int) -> None:
            ended.set()

    socket = await connect(Ends)
    if end == "error":
        socket.receive("1")
    else:
        socket.leave()
    await ended.wait()
    while not socket.ended:
        put_here(layer, socket)
        await asyncio.sleep(0)
    assert socket.frames == []
    assert (socket.task.exception() is None) == (end == "disconnect")


async def test_handler_that_dispatches_to_another(layer: Any, connect: Connect) -> None:
    """Nothing is written before the first of them has ended."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    class Nested(AsyncJson):
        async def receive_json(self, content: Any, **_: Any) -> None:
            await self.send_json(content)
            await self.dispatch({"type": "inner"})
            reached.set()
            await go_on.wait()
            await self.send_json("end")

        async def inner(self, event: dict[str, Any]) -> None:
            pass

    socket = await connect(Nested)
    socket.receive("1")
    await reached.wait()
    put_here(layer, socket)
    go_on.set()
    await shows(socket, [1, "end", number(1)])


class Positions(Broadcasts, AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends the number of a message and its position, to a browser that may come back with it."""

    since: str | None = None

    async def connect(self) -> None:
        """Join the room where the browser was."""
        await self.channel_layer.group_add("room", self.channel_name, since=self.since)
        await self.accept()

    @broadcast
    def quick(event: dict[str, Any]) -> Any:  # noqa: N805 - no self
        """Send the number and the position."""
        return [count(event), event["__asgi_position__"]]


async def test_positions(make_layer: Callable[..., Any], connect: Connect) -> None:
    """Frames hold positions, and a browser that comes back gets what it has missed as frames."""
    sender = make_layer(history={"room": {}})
    with default_layer(make_layer(history={"room": {}})) as layer:
        ada, bob = await connect(Positions), await connect(Positions)
        await send(sender, 1)
        await eventually(lambda: ada.frames and bob.frames)
        await bob.disconnect()
        await send(sender, 2, 3)
        await eventually(lambda: len(ada.frames) == 3)
        [_, latest] = json.loads(bob.frames[0])
        back = await connect(made(Positions, since=latest))
        await eventually(lambda: len(back.frames) == 2)
        assert back.frames == ada.frames[1:]
        assert [json.loads(frame)[0] for frame in ada.frames] == [1, 2, 3]
        assert layer.statistics().broadcasts >= 3


async def test_nothing_to_send(layer: Any, sender: Any, connect: Connect) -> None:
    """A function that returns None sends no frame."""

    @broadcast
    def quick(event: dict[str, Any]) -> Any:
        return None if event["number"] % 2 else bytes([event["number"]])

    socket = await connect(made(Broadcasts, AsyncWebsocketConsumer, groups=("room",), quick=quick))
    await send(sender, *range(5))
    await eventually(lambda: len(socket.frames) == 3)
    assert socket.frames == [b"\0", b"\2", b"\4"]
    assert layer.statistics().broadcasts == 5


@pytest.mark.parametrize("consumer", CONSUMERS)
async def test_any_other_layer(consumer: Any) -> None:
    """The handlers send the same frames."""
    with default_layer(InMemoryChannelLayer()) as layer:
        sockets = [Socket(consumer) for _ in range(3)]
        for socket in sockets:
            await socket.opened()
        await send(layer, *range(3))
        for socket in sockets:
            await shows(socket, [number(at) for at in range(3)])
            await socket.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_loop_closed_without_cleanup_leaves_nothing_behind(
    make_layer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channels of its consumers end as those of all consumers do."""
    monkeypatch.setattr("channels_redis_queue.maintenance.CHECK_INTERVAL", 0.4)
    monkeypatch.setattr("channels_redis_pubsub.broker.SWEEP_INTERVAL", 0.4)
    with default_layer(make_layer(channel_expiry=1)) as layer:

        async def open_socket() -> Socket:
            socket = Socket(AsyncJson)
            await socket.opened()
            return socket

        async def wait_for_the_end_of_others() -> None:
            socket = await open_socket()
            await eventually(lambda: gc.collect() >= 0 and layer.statistics().mailboxes == 1)
            await socket.stop()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(open_socket())
        loop.close()
        assert layer.statistics().mailboxes == 1
        asyncio.run(wait_for_the_end_of_others())


def made(*bases: type, name: str = "Own", **attributes: Any) -> type:
    """Return a new class."""
    return type(name, bases, attributes)


QUICK: dict[str, Any] = {"quick": broadcast(count), "groups": ("room",)}
BASES = pytest.mark.parametrize("base", [AsyncJsonWebsocketConsumer, JsonWebsocketConsumer])


@BASES
async def test_encoding_as_bytes(sender: Any, connect: Connect, base: Any) -> None:
    """The result of `encode_json` is the text of the frame, as in `send_json`."""

    def encode(_: Any, content: Any) -> bytes:
        return json.dumps(content).encode()

    async def encode_later(cls: Any, content: Any) -> bytes:
        return encode(cls, content)

    encode_json = classmethod(encode if base is JsonWebsocketConsumer else encode_later)
    socket = await connect(made(Broadcasts, base, **QUICK, encode_json=encode_json))
    await send(sender, 1)
    await eventually(lambda: socket.frames)
    assert socket.sent[-1] == {"type": "websocket.send", "text": b"1"}


@BASES
async def test_base_class_that_wraps_the_socket(
    layer: Any, sender: Any, connect: Connect, base: Any
) -> None:
    """Frames go through the `send` that the consumer got."""

    class Shouts(base):  # type: ignore[misc]
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def shout(message: dict[str, Any]) -> None:
                if message["type"] == "websocket.send":
                    message["text"] += "!"
                await send(message)

            await super().__call__(scope, receive, shout)

    socket = await connect(made(Broadcasts, Shouts, **QUICK))
    await send(sender, 1)
    await eventually(lambda: socket.frames)
    assert socket.frames == ["1!"]
    assert layer.statistics().broadcasts == 1


async def test_layer_with_its_own_receive(layer: Any, sender: Any, connect: Connect) -> None:
    """A subclass that changes what it receives gets every message."""
    kind = type(layer)

    class Adds(kind):  # type: ignore[misc,valid-type]
        async def receive(self, channel: str) -> dict[str, Any]:
            message: dict[str, Any] = await super().receive(channel)
            return {**message, "number": message["number"] + 100}

    layer.__class__ = Adds
    socket = await connect(AsyncJson)
    await send(sender, 1)
    await shows(socket, [number(101)])


def test_wrong_functions() -> None:
    """A function with `self`, or a coroutine function, is refused."""

    def with_self(self: Any, event: dict[str, Any]) -> Any:
        return self, event

    async def waits(event: dict[str, Any]) -> Any:
        return event

    for function in (with_self, waits):
        with pytest.raises(TypeError, match="must be a plain function of the event alone"):
            broadcast(function)  # type: ignore[arg-type]


def bypass(*_: Any) -> None:
    """Stand for a method of a consumer."""


JSON = AsyncJsonWebsocketConsumer


@pytest.mark.parametrize(
    ("bases", "attributes", "text"),
    [
        ((Broadcasts, JSON), {"send": bypass}, "Own overrides send, which broadcasts do not go"),
        ((AsyncJson,), {"dispatch": bypass}, "Own overrides dispatch, which broadcasts do not go"),
        (
            (Broadcasts, made(JSON, name="Base", send_json=bypass)),
            {},
            "overrides send_json, by way of Base, which broadcasts",
        ),
        # Channels' consumers call this one by `super()`.
        (
            (Broadcasts, JSON, made(AsyncConsumer, name="Mixin", dispatch=bypass)),
            {},
            "by way of Mixin, which broadcasts",
        ),
        ((Broadcasts, JSON), {"encode_json": bypass}, r"Own\.encode_json must be a class method"),
        ((Broadcasts, AsyncConsumer), {}, "Own must be a WebSocket consumer, such as an Async"),
        ((JSON, Broadcasts), {}, "must name Broadcasts before the consumer"),
    ],
)
def test_wrong_classes(bases: Any, attributes: dict[str, Any], text: str) -> None:
    """A class whose broadcasts could not be sent is refused when it is made, not at a message."""
    with pytest.raises(TypeError, match=text):
        made(*bases, quick=broadcast(count), **attributes)


def test_mixin() -> None:
    """A class with broadcasts may get its consumer later."""
    made(made(Broadcasts, quick=broadcast(count)), AsyncJsonWebsocketConsumer)
