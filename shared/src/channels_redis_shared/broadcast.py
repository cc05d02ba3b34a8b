"""Send group messages straight to WebSockets, without a handler call for each member.

Channels hands a message to each consumer through a task, and its handler encodes the same frame
again. Behind a thousand sockets this takes forty times as long as the layer itself. A handler
marked with `broadcast` only says what the frame holds: it is built once in each process, and
written to the sockets of all idle members in one task. For a consumer that is busy, or whose socket
is slow, messages wait in its mailbox, so each browser sees the frames in the order that Channels
gives them.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import types
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from channels.consumer import AsyncConsumer, SyncConsumer
from channels.generic import websocket

from .concurrency import end_task, running_loop, start_task
from .uvicorn_socket import EncodedFrame, UvicornSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from .delivery.mailboxes import Mailbox
    from .messages.serializers import DecodedMessage

    Frame = dict[str, Any]
    Receive = Callable[[], Awaitable[Frame]]
    Send = Callable[[Frame], Awaitable[None]]
    Due = deque[tuple["BroadcastSink", Mailbox]]

__all__ = ["Broadcasts", "broadcast"]

logger = logging.getLogger(__name__.partition(".")[0])

# The type of the notice that writing to the socket has failed.
_FAILED = "broadcasts.failed"

# Methods through which a handler's frame would go, and a broadcast's does not.
_BYPASSED = ("send", "send_json", "dispatch")


class broadcast:  # noqa: N801 - a decorator
    """Mark a handler whose frame is the same for every consumer.

    The function takes the event alone, without `self`, and returns the frame: on JSON consumers
    what `send_json` takes, on others a str or bytes. None sends nothing. It is called once for each
    message, process and consumer class, and once more for each consumer whose handler has to send
    the frame.

    Raises:
        TypeError: The function is a coroutine function, or takes anything but the event.
    """

    def __init__(self, function: Callable[[dict[str, Any]], Any]) -> None:
        parameters = list(inspect.signature(function).parameters)
        if inspect.iscoroutinefunction(function) or len(parameters) != 1 or parameters == ["self"]:
            raise TypeError(
                f"{function.__qualname__} must be a plain function of the event alone, as in "
                "`def chat_message(event)`: its frame is built once for all consumers. Leave "
                "@broadcast out where the frame depends on the consumer"
            )
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __get__(self, consumer: Any, owner: type | None = None) -> Any:
        """Return the handler of a consumer, which sends the frame as any handler does."""
        if consumer is None:
            return self
        handler = _send if isinstance(consumer, SyncConsumer) else _send_and_wait
        return functools.partial(handler, self, consumer)

    def frame(self, consumer_class: Any, message: DecodedMessage) -> EncodedFrame | None:
        """Return the ASGI message to send for a message, empty for nothing.

        None if that fails: the handlers raise the error once more, each in its own consumer.
        """
        try:
            content = self.function(message.copy())
            if content is None:
                return EncodedFrame()
            kind = "text"
            if issubclass(consumer_class, websocket.JsonWebsocketConsumer):
                content = consumer_class.encode_json(content)
            elif issubclass(consumer_class, websocket.AsyncJsonWebsocketConsumer):
                content = _without_waiting(consumer_class.encode_json(content))
            else:
                kind = _kind(self, content)
        except (Exception, asyncio.CancelledError):
            logger.exception("The broadcast %s failed", self.function.__qualname__)
            return None
        return EncodedFrame({"type": "websocket.send", kind: content})


class BroadcastSink:
    """The WebSocket of one consumer, as far as broadcasts may be written to it directly.

    Args:
        consumer_class: The class of the consumer.
        receive: The connection's ASGI `receive`.
        send: The connection's ASGI `send`.
    """

    def __init__(self, consumer_class: type[Broadcasts], receive: Receive, send: Send) -> None:
        self._class = consumer_class
        self._broadcasts = consumer_class._broadcasts  # noqa: SLF001 - a class of this module
        self._receive = receive
        self._send = self._send_frame = send
        self._socket = UvicornSocket.behind(send)
        self._loop = asyncio.get_running_loop()
        self._due = _due.setdefault(self._loop, deque())
        self.context = contextvars.copy_context()
        # Puts a notice into the mailbox; None unless the layer hands out its messages.
        self.notify: Callable[[str], object] | None = None
        # True from a claim to its end.
        self._is_writing = False
        # The task in which a frame waits for the socket.
        self.waiting: asyncio.Task[None] | None = None
        # Why writing has failed.
        self._error: BaseException | None = None
        # The number of the consumer's running handlers: one may dispatch to another.
        self.handling = 0
        # True while the consumer has an ASGI message that it handles before what waits.
        self.has_event = False
        # True from the end of the handshake until the socket is being closed.
        self.is_open = False

    def attach(self, consumer: Any) -> None:
        """Take a consumer's messages from now on, if its layer hands them out."""
        # A base class may have wrapped `send` in its `__call__`. A SyncConsumer wraps it again.
        send = getattr(consumer.base_send, "awaitable", consumer.base_send)
        if send != self.send:
            self._send_frame, self._socket = send, None
        layer: Any = getattr(consumer, "channel_layer", None)
        if hasattr(layer, "attach_sink"):
            self.notify = layer.attach_sink(consumer.channel_name, self)

    async def receive(self) -> Frame:
        """Return the next ASGI message for the consumer."""
        self.has_event = False
        message = await self._receive()
        self.has_event = True
        return message

    async def send(self, message: Frame) -> None:
        """Send an ASGI message of the consumer."""
        if message["type"] == "websocket.close":
            self.is_open = False
        await self._send(message)
        if message["type"] == "websocket.accept":
            self.is_open = True

    def claim(self, mailbox: Mailbox) -> bool:
        """Take frames from the consumer's mailbox in a later turn of the loop, and write them."""
        if self._is_writing or running_loop() is not self._loop:
            return False
        self._is_writing = True
        self._due.append((self, mailbox))
        if len(self._due) == 1:
            _start_writing(self._due)
        return True

    def frame(self, message: DecodedMessage) -> EncodedFrame | None:
        """Return the frame of a message, empty for nothing; None if a handler has to send it."""
        if self.handling or self.has_event or not self.is_open:
            return None
        frames = message.frames
        if frames is None:
            frames = message.frames = {}
        if self._class not in frames:
            found = self._broadcasts.get(str(message.type).replace(".", "_"))
            frames[self._class] = None if found is None else found.frame(self._class, message)
        return frames[self._class]

    def write_encoded(self, mailbox: Mailbox) -> EncodedFrame | None:
        """Write frames of the claimed mailbox, until one has to go through `send`; return that."""
        while (frame := mailbox.next_frame(self)) is not None:
            if self._socket is None or not self._socket.write(frame):
                return frame
        self._is_writing = False
        return None

    async def write(self, frame: EncodedFrame | None, mailbox: Mailbox) -> None:
        """Write a frame through `send`, and then the others of the mailbox."""
        try:
            while frame is not None:
                # A copy, as a middleware may change it on its way.
                await self._send_frame(frame.copy())
                frame = self.write_encoded(mailbox)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever a server raises
            # It ends the consumer, as from a handler, unless `close` has cancelled this.
            if self.is_open:
                self.is_open = False
                self._error = error
                if self.notify is not None:
                    self.notify(_FAILED)
            mailbox.end_claim()
        finally:
            self._is_writing = False
            self.waiting = None

    async def drain(self, message: dict[str, Any]) -> None:
        """Wait until no frame waits for the socket; raise its error if a message says so."""
        if self.waiting is not None:
            await asyncio.wait([self.waiting])
        if self._error is not None and message.get("type") == _FAILED:
            raise self._error

    async def close(self) -> None:
        """Write nothing more."""
        self.is_open = False
        if self.waiting is not None:
            await end_task(self.waiting)


# The sockets to write to, by event loop, each with the mailbox that it has claimed.
_due: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Due] = weakref.WeakKeyDictionary()


def _start_writing(due: Due, _ended: object = None) -> None:
    """Write to the sockets that are due, in a later turn of the loop."""
    if due:
        # Again at its end: it never begins if all tasks of the loop are cancelled before.
        start_task(_write(due)).add_done_callback(functools.partial(_start_writing, due))


async def _write(due: Due) -> None:
    """Write to sockets, all in this task as long as none makes it wait.

    A `send` runs in the context of its consumer, but not in its task, which waits elsewhere.
    """
    while due:
        sink, mailbox = due.popleft()
        frame = sink.write_encoded(mailbox)
        if frame is None:
            continue
        writing = sink.write(frame, mailbox)
        try:
            awaited = sink.context.run(writing.send, None)
        except StopIteration:
            continue
        # The other sockets don't wait for this one.
        sink.waiting = asyncio.current_task()
        _start_writing(due)
        await _continue(writing, awaited, sink.context)
        return


@types.coroutine
def _continue(
    coroutine: Coroutine[Any, Any, None], awaited: object, context: contextvars.Context
) -> Generator[object, Any, None]:
    """Run the rest of a coroutine, which waits for something, in its context."""
    while True:
        try:
            step = functools.partial(coroutine.send, (yield awaited))
        except BaseException as error:  # noqa: BLE001 - such as a cancellation
            step = functools.partial(coroutine.throw, error)
        try:
            awaited = context.run(step)
        except StopIteration:
            return


class Broadcasts:
    """Mixin for WebSocket consumers with `broadcast` handlers, named before the consumer's base.

    With a layer of this package, or another of channels-redis 5, the frames go to the sockets at
    once. With any other layer the handlers are called, and send the same frames.

    Raises:
        TypeError: The class is named after the consumer's base, or it overrides a method that a
            handler's frame would go through and a broadcast's does not.
    """

    _broadcasts: dict[str, broadcast]
    _sink: BroadcastSink | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._broadcasts = {
            name: found
            for name in dir(cls)
            # Channels refuses messages for names with an underscore in front.
            if not name.startswith("_")
            and isinstance(found := inspect.getattr_static(cls, name), broadcast)
        }
        if cls._broadcasts:
            _refuse_bypassed(cls)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        """Run the consumer."""
        run: Any = super().__call__  # type: ignore[misc]  # the consumer's
        if scope["type"] != "websocket":
            await run(scope, receive, send)
            return
        self._sink = BroadcastSink(type(self), receive, send)
        try:
            await run(scope, self._sink.receive, self._sink.send)
        finally:
            await self._sink.close()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of a message, after all frames that were written before it."""
        handle: Any = super().dispatch  # type: ignore[misc]  # the consumer's
        sink = self._sink
        if sink is None:
            await handle(message)
            return
        sink.handling += 1
        try:
            if sink.notify is None:
                sink.attach(self)
            await sink.drain(message)
            await handle(message)
        except BaseException:
            # That of the outermost handler ends the consumer, and nothing may be written meanwhile.
            sink.is_open = sink.is_open and sink.handling > 1
            raise
        finally:
            sink.handling -= 1


def _refuse_bypassed(cls: type) -> None:
    for definer in cls.__mro__:
        if definer is Broadcasts or definer.__module__.startswith("channels."):
            continue
        for name in _BYPASSED:
            if name in vars(definer):
                where = "" if definer is cls else f", by way of {definer.__qualname__}"
                raise TypeError(
                    f"{cls.__qualname__} overrides {name}{where}, which broadcasts do not go "
                    "through: change what the @broadcast function returns or override "
                    "encode_json, or leave @broadcast out"
                )
    encode = inspect.getattr_static(cls, "encode_json", None)
    if encode is not None and not isinstance(encode, classmethod | staticmethod):
        raise TypeError(
            f"{cls.__qualname__}.encode_json must be a class method, as that of Channels: it "
            "encodes a broadcast once for all consumers"
        )
    if issubclass(cls, AsyncConsumer) and not issubclass(
        cls, websocket.AsyncWebsocketConsumer | websocket.WebsocketConsumer
    ):
        raise TypeError(
            f"{cls.__qualname__} must be a WebSocket consumer, such as an AsyncWebsocketConsumer: "
            "broadcasts send text and bytes"
        )
    if next(each for each in cls.__mro__ if "dispatch" in vars(each)) is not Broadcasts:
        raise TypeError(
            f"{cls.__qualname__} must name Broadcasts before the consumer's class, as in "
            f"`class {cls.__name__}(Broadcasts, AsyncJsonWebsocketConsumer)`"
        )


def _send(found: broadcast, consumer: Any, event: dict[str, Any]) -> Any:
    content = found.function(event)
    if content is None:
        return None
    if isinstance(consumer, websocket.AsyncJsonWebsocketConsumer | websocket.JsonWebsocketConsumer):
        return consumer.send_json(content)
    return consumer.send(**{f"{_kind(found, content)}_data": content})


async def _send_and_wait(found: broadcast, consumer: Any, event: dict[str, Any]) -> None:
    sending = _send(found, consumer, event)
    if sending is not None:
        await sending


def _kind(found: broadcast, content: object) -> str:
    if isinstance(content, str):
        return "text"
    if isinstance(content, bytes):
        return "bytes"
    raise TypeError(
        f"{found.function.__qualname__} must return a str, bytes or None, not a "
        f"{type(content).__name__}; JSON consumers take more"
    )


def _without_waiting(coroutine: Any) -> Any:
    """Return the result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise TypeError("encode_json must not wait for anything in a consumer with broadcasts")
