"""Real consumers, run by Channels itself on each layer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from channels.testing import WebsocketCommunicator

from conformance.capabilities import Capability, needs
from conformance.consumers import Chat, Feed, SyncChat
from conformance.promises import Required, checks
from support.default_layer import default_layer
from support.messages import DEADLINE, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conformance.layer_case import ChannelLayer, LayerCase

pytestmark = [checks(Required.APPLICATIONS)]


@pytest.fixture(autouse=True)
def site(layer: ChannelLayer) -> Iterator[None]:
    """Make the test's layer the one that `get_channel_layer` returns to consumers."""
    with default_layer(layer):
        yield


@asynccontextmanager
async def client(consumer: Any) -> AsyncIterator[WebsocketCommunicator]:
    """A WebSocket client of a consumer, connected, and disconnected in the end."""
    communicator = WebsocketCommunicator(consumer.as_asgi(), "/")
    connected, _ = await communicator.connect(timeout=DEADLINE)
    assert connected
    yield communicator
    await communicator.disconnect(timeout=DEADLINE)


@pytest.mark.parametrize(("first", "second"), [(Chat, SyncChat), (SyncChat, Chat)])
async def test_chat(first: Any, second: Any) -> None:
    """Two clients in a room get the messages of both, in order."""
    async with client(first) as ada, client(second) as bob:
        for number in range(5):
            await ada.send_to(text_data=f"ada {number}")
            for listener in (ada, bob):
                assert await hears(listener) == f"ada {number}"
        await bob.send_to(bytes_data=b"bob")
        for listener in (ada, bob):
            assert await hears(listener) == "b'bob'"


async def test_client_that_leaves() -> None:
    """A client that disconnects says goodbye and leaves the room; the others stay."""
    async with client(Chat) as ada:
        async with client(Chat) as bob:
            await bob.send_to(text_data="hello")
            await within(all_hear((ada, bob), "hello"))
        assert await hears(ada) == "-1000"
        await ada.send_to(text_data="alone")
        assert await hears(ada) == "alone"


async def test_groups_of_the_class(layer: ChannelLayer) -> None:
    """A consumer that names its groups gets their messages, and those to its own channel."""
    async with client(Feed) as reader:
        for group in ("news", "sports"):
            await within(layer.group_send(group, {"type": "feed.item", "item": {"in": group}}))
            assert await reader.receive_json_from(timeout=DEADLINE) == {"in": group}
        await reader.send_json_to({"who": "are you"})
        answer = await reader.receive_json_from(timeout=DEADLINE)
        assert answer["asked"] == {"who": "are you"}
        await within(layer.send(answer["channel"], {"type": "feed.item", "item": {"to": "you"}}))
        assert await reader.receive_json_from(timeout=DEADLINE) == {"to": "you"}


async def test_consumer_that_closes(layer: ChannelLayer) -> None:
    """A handler may close its WebSocket; the room continues without it."""
    async with client(Chat) as ada:
        await within(layer.group_send("room", {"type": "chat.kick", "code": 4001}))
        closing = await ada.receive_output(timeout=DEADLINE)
        assert (closing["type"], closing["code"]) == ("websocket.close", 4001)
    async with client(Chat) as bob:
        await bob.send_to(text_data="still here")
        assert await hears(bob) == "still here"


async def test_consumer_that_fails(layer: ChannelLayer) -> None:
    """A handler that raises ends its consumer, and no other."""
    failing = WebsocketCommunicator(Chat.as_asgi(), "/")
    await failing.connect(timeout=DEADLINE)
    await within(layer.group_send("room", {"type": "chat.crash", "text": "a mistake"}))
    with pytest.raises(LookupError, match="a mistake"):
        await failing.wait(timeout=DEADLINE)
    async with client(Chat) as bob:
        await bob.send_to(text_data="still here")
        assert await hears(bob) == "still here"


@needs(Capability.PROCESSES)
async def test_another_process_talks_to_consumers(case: LayerCase) -> None:
    """Messages of any process to the room reach this one's consumers."""
    elsewhere = case.layer()
    async with client(Chat) as ada, client(SyncChat) as bob:
        message = {"type": "chat.message", "text": "from elsewhere"}
        await within(elsewhere.group_send("room", message))
        await within(all_hear((ada, bob), "from elsewhere"))


async def hears(listener: WebsocketCommunicator) -> str:
    """Return the next text that a client gets."""
    text: str = await listener.receive_from(timeout=DEADLINE)
    return text


async def all_hear(listeners: Any, text: str) -> None:
    """Check that each of some clients gets a text next."""
    for listener in listeners:
        assert await hears(listener) == text
