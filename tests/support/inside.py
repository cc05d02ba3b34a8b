"""The inside of a layer: the only module for all tests that touches private attributes.

The tests in `unit` are about single parts; all others see a layer as its users do, and ask here for
what no user can see: whether a call waits by now, or something was left behind.
"""

from __future__ import annotations

from typing import Any

# What is private has no types that would help here.


def process(layer: Any) -> Any:
    """Return what a layer has in this process."""
    return layer._brokers.get()


def broker(layer: Any) -> Any:
    """Return what a layer has for the running event loop."""
    return process(layer).get()


def brokers(layer: Any) -> list[Any]:
    """Return what a layer has for each event loop that goes on."""
    found = process(layer).values()
    return [one for one in found if one.loop and not one.loop.is_closed()]


def shards(layer: Any) -> Any:
    """Return the command connections of a queue layer for the running event loop."""
    return process(layer).shards


def receivers(layer: Any) -> list[Any]:
    """Return the receivers that a queue layer has in this process."""
    return [receiver for one in brokers(layer) for receiver in one._receivers._all()]


def prefetched(layer: Any, channel: str) -> int:
    """Return how many messages of a general channel were taken before a call asked for them."""
    return int(broker(layer)._receivers._worker_dispatchers[channel].mailbox.size)


def waiting_calls(layer: Any, channel: str) -> int:
    """Return how many calls wait for a message of a channel."""
    boxes = [one.consumers.mailboxes.find(channel) for one in brokers(layer)]
    return sum(box.waiting for box in boxes if box is not None)


def mailboxes(layer: Any) -> Any:
    """Return the mailboxes of a layer; with Pub/Sub, those of the running event loop."""
    return broker(layer).consumers.mailboxes


def is_handling(consumer: Any) -> bool:
    """Return whether a handler of a consumer with broadcasts runs."""
    return consumer._sink is not None and bool(consumer._sink.handling)


def connector(layer: Any) -> Any:
    """Return what connects a layer to its first host."""
    return layer._connectors[0]


def encrypt(layer: Any, body: bytes) -> bytes:
    """Encrypt bytes as a layer does a message."""
    token: bytes = layer._serializer.encrypt(body)
    return token


def followers(layer: Any) -> Any:
    """Return the followers of a layer's groups with a history."""
    process = broker(layer)
    return getattr(process, "_followers", None) or process.followers


def is_settled(follower: Any) -> bool:
    """Return whether a follower keeps no join, no read and no message back."""
    kept = follower.joins, follower._reading, follower._all.mailboxes.waits
    return not any(kept) and not follower.is_behind("")


def transport_of(pipeline: Any) -> Any:
    """Return the transport of the only connection of a pipeline."""
    [lane] = pipeline._lanes.values()
    return lane._connection._transport
