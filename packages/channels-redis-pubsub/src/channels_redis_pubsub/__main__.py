"""The commands of this package: `python -m channels_redis_pubsub doctor`, and `stats`."""

from __future__ import annotations

import sys

from ._shared.cli.starting import start
from .doctor import SUBJECT

sys.exit(start(SUBJECT))
