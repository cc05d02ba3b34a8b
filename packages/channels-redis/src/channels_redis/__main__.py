"""The commands for both layers: `python -m channels_redis doctor`, and `stats`."""

from __future__ import annotations

from channels_redis_pubsub.doctor import PubSubDoctor
from channels_redis_queue.doctor import QueueDoctor, run

run("channels_redis", QueueDoctor(), PubSubDoctor())
