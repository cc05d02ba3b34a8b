"""The commands of this package: `python -m channels_redis_queue doctor`, and `stats`."""

from __future__ import annotations

from .doctor import QueueDoctor, run

run("channels_redis_queue", QueueDoctor())
