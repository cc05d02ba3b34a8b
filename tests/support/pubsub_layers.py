"""Helpers for tests of the Pub/Sub layer: layers, and views of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from support.inside import broker, waiting_calls
from support.layers import LayersOf, fixtures_of
from support.messages import Message, nothing_else
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_pubsub.broker import PubSubBroker
    from embedded_server import EmbeddedServer

__all__ = ["nothing_else"]

NOTICES = {"on_disconnect": "redis.lost", "on_reconnect": "redis.back"}
LOST, BACK = {"type": "redis.lost"}, {"type": "redis.back"}


class Layers(LayersOf[RedisPubSubChannelLayer]):
    """Layers with some options in common, closed after the test."""

    layer_class = RedisPubSubChannelLayer


layers, own_layers = fixtures_of(Layers)


@pytest.fixture
def frequent_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers look for consumers that have ended more often than they do."""
    monkeypatch.setattr("channels_redis_pubsub.broker.SWEEP_INTERVAL", 0.4)


@pytest.fixture
def frequent_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers check their subscriptions more often than they do."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers find silence within a second or two instead of 25."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.6)
    monkeypatch.setattr("channels_redis_pubsub.subscriber.SILENCE_GRACE", 0.5)


async def waiting(layer: RedisPubSubChannelLayer, channel: str) -> asyncio.Task[Message]:
    """Start to receive, and return when the call waits."""
    task = asyncio.create_task(layer.receive(channel))
    await eventually(lambda: waits(layer, channel))
    return task


def waits(layer: RedisPubSubChannelLayer, channel: str) -> int:
    """Return how many calls of `receive` wait for a channel."""
    return waiting_calls(layer, channel)


def inside(layer: RedisPubSubChannelLayer) -> PubSubBroker:
    """Return what a layer has for the running event loop."""
    found: PubSubBroker = broker(layer)
    return found


def kill_subscriptions(server: EmbeddedServer) -> int:
    """Close all connections with subscriptions, as an operator would; return how many."""
    with server.client() as client:
        killed: int = client.client_kill_filter(_type="pubsub")
    return killed


def subscribed(server: EmbeddedServer, prefix: str = "") -> set[str]:
    """Return the Redis channels with listeners that begin with `prefix`."""
    with server.client() as client:
        return {name.decode() for name in client.pubsub_channels(f"{prefix}*")}


def connections(server: EmbeddedServer) -> list[dict[str, str]]:
    """Return the server's connections over TCP; the tests' own come through the UNIX socket."""
    with server.client() as client:
        found: list[dict[str, str]] = client.client_list()
    return [entry for entry in found if "U" not in entry["flags"]]
