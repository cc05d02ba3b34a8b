"""The Django app of this package, with the checks of both layers."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from channels_redis_pubsub.apps import check_layers as check_pubsub_layers
from channels_redis_queue.apps import check_layers as check_queue_layers


class RedisConfig(AppConfig):  # type: ignore[misc]  # Django has no type hints
    """Register the checks of the layers in CHANNEL_LAYERS."""

    name = "channels_redis"

    def ready(self) -> None:
        """Register the checks."""
        register(check_queue_layers)
        register(check_pubsub_layers)
