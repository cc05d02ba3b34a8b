"""The members of topics in an event loop."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from channels_redis_pubsub._shared.delivery.mailboxes import Mailboxes
from channels_redis_pubsub.protocol.hub import Hub, TopicDispatcher
from unit.conftest import another_thread, check_linear


@pytest.fixture
def hub() -> Hub:
    """A hub with two channels."""
    hub = Hub()
    hub.open("a")
    hub.open("b")
    return hub


def join(hub: Hub, topic: bytes, channel: str) -> None:
    """Join, as if the server had confirmed it at once."""
    hub.confirm_join(topic, channel, hub.begin_join(topic, channel))


def test_another_thread_counts_groups(hub: Hub) -> None:
    """A metrics exporter has its own thread, and asks while channels come and go."""

    def come_and_go() -> None:
        for number in range(100):
            hub.open(f"channel-{number}")
        for number in range(100):
            hub.close(f"channel-{number}")

    with another_thread(come_and_go):
        for _ in range(3000):
            hub.groups()


def dispatcher_of(hub: Hub, mailboxes: Mailboxes) -> TopicDispatcher:
    """A dispatcher with the notices `lost` and `back`."""
    settings: Any = SimpleNamespace(history=None, on_disconnect="lost", on_reconnect="back")
    followers: Any = SimpleNamespace(find={}.get, forget=print)
    return TopicDispatcher(settings, hub, mailboxes, followers)


async def test_channels_back_in_one_turn_share_a_notice(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get it at the end of the turn, or before the next loss."""
    mailboxes = Mailboxes(10**6, print)
    notices: list[Any] = []
    monkeypatch.setattr(mailboxes, "put", lambda *call: notices.append(call))
    dispatcher = dispatcher_of(hub, mailboxes)
    join(hub, b"room", "a")
    join(hub, b"room", "b")
    dispatcher.on_lost({b"a", b"b"})
    dispatcher.on_subscribed(b"a")
    dispatcher.on_subscribed(b"b")
    dispatcher.on_lost({b"a"})
    await asyncio.sleep(0)
    assert [(sorted(channels), notice.type) for channels, notice in notices] == [
        (["a", "b"], "lost"),
        (["a", "b"], "back"),
        (["a"], "lost"),
    ]


def test_outages_of_many_topics_take_linear_time() -> None:
    """Four times as many topics, lost and found one by one, take about four times as long."""

    async def seconds(count: int) -> float:
        hub, topics = Hub(), [b"%d" % number for number in range(count)]
        hub.open("channel")
        for topic in topics:
            join(hub, topic, "channel")
        dispatcher = dispatcher_of(hub, Mailboxes(10**6, print))
        began = time.thread_time()
        for topic in 2 * topics:
            dispatcher.on_lost((topic,))
        for topic in topics:
            dispatcher.on_subscribed(topic)
        await asyncio.sleep(0)
        return time.thread_time() - began

    check_linear(lambda count: asyncio.run(seconds(count)), 2000)
