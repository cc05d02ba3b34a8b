"""The command line of this package: `python -m channels_redis_pubsub`."""

from __future__ import annotations

from .doctor import PubSubDoctor, run

run("channels_redis_pubsub", PubSubDoctor())
