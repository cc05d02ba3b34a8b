"""The command `manage.py channels_redis_queue`."""

from __future__ import annotations

from channels_redis_queue.commands import QueueCommand
from channels_redis_queue.doctor import QueueDoctor


class Command(QueueCommand):
    """Work on general channels, or examine the layers of this package in CHANNEL_LAYERS."""

    doctors = (QueueDoctor(),)
