"""The command `manage.py channels_redis_queue`."""

from __future__ import annotations

from channels_redis_queue.doctor import DoctorCommand, QueueDoctor


class Command(DoctorCommand):
    """Examine the layers of this package in CHANNEL_LAYERS."""

    doctors = (QueueDoctor(),)
