"""The Django app of this package: checks of the settings, when it is in INSTALLED_APPS."""

from __future__ import annotations

from functools import partial

from django.apps import AppConfig
from django.core.checks import register

from ._shared.ops import django_checks
from .layer import RedisPubSubChannelLayer

check_layers = partial(django_checks.check_layers, "channels_redis_pubsub", RedisPubSubChannelLayer)


class PubSubConfig(AppConfig):  # type: ignore[misc]  # Django has no type hints
    """Check the Pub/Sub layers in CHANNEL_LAYERS."""

    name = "channels_redis_pubsub"

    def ready(self) -> None:
        """Register the checks."""
        register(check_layers)
