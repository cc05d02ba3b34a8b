"""The Django app of this package: checks of the settings, when it is in INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from ._shared.ops.django_checks import Checks
from .layer import RedisChannelLayer

check_layers = Checks("channels_redis_queue", RedisChannelLayer)


class QueueConfig(AppConfig):  # type: ignore[misc]  # Django has no type hints
    """Check the queue layers in CHANNEL_LAYERS."""

    name = "channels_redis_queue"
    verbose_name = "Channels on Redis: queue layer"

    def ready(self) -> None:
        """Register the checks."""
        register(check_layers)
