"""The Django app of this package: checks of the settings, when it is in INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from ._shared.ops.django_checks import Checks
from .layer import RedisPubSubChannelLayer

check_layers = Checks("channels_redis_pubsub", RedisPubSubChannelLayer)


class PubSubConfig(AppConfig):  # type: ignore[misc]  # Django has no type hints
    """Check the Pub/Sub layers in CHANNEL_LAYERS."""

    name = "channels_redis_pubsub"
    verbose_name = "Channels on Redis: Pub/Sub layer"

    def ready(self) -> None:
        """Register the checks."""
        register(check_layers)
