"""The commands of this package: `python -m channels_redis_queue doctor`, and `stats`."""

from __future__ import annotations

import sys

from .doctor import QueueDoctor, run

sys.exit(run("channels_redis_queue", [QueueDoctor()]))
