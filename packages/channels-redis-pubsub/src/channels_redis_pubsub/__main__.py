"""The command line of this package: `python -m channels_redis_pubsub`."""

from __future__ import annotations

import sys

from .doctor import PubSubDoctor, run

sys.exit(run("channels_redis_pubsub", [PubSubDoctor()]))
