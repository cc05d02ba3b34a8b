"""The commands for both layers: `python -m channels_redis doctor`, and `stats`."""

from __future__ import annotations

import sys

from channels_redis_pubsub.doctor import PubSubDoctor
from channels_redis_queue.doctor import QueueDoctor, run

sys.exit(run("channels_redis", [QueueDoctor(), PubSubDoctor()]))
