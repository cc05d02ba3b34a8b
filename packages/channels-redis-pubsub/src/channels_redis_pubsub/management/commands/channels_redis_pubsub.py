"""The command `manage.py channels_redis_pubsub`."""

from __future__ import annotations

from channels_redis_pubsub.doctor import DoctorCommand, PubSubDoctor


class Command(DoctorCommand):
    """Examine the layers of this package in CHANNEL_LAYERS."""

    doctors = (PubSubDoctor(),)
