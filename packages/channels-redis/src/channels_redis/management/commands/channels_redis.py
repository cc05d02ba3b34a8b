"""The command `manage.py channels_redis`."""

from __future__ import annotations

from channels_redis_pubsub.doctor import PubSubDoctor
from channels_redis_queue.commands import QueueCommand
from channels_redis_queue.doctor import QueueDoctor


class Command(QueueCommand):
    """Work on general channels, or examine the layers of both packages in CHANNEL_LAYERS."""

    doctors = (QueueDoctor(), PubSubDoctor())
