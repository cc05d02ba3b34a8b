"""The Django app of this package: system checks, when it is in INSTALLED_APPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, get_default_application
from django.apps import AppConfig
from django.core.checks import CheckMessage, register

from ._shared.ops.django_checks import Checks
from .layer import RedisPubSubChannelLayer

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_general_channels(checks: Checks, alias: str) -> Iterator[CheckMessage]:
    """Yield a warning if workers would read general channels of this layer."""
    # `runworker` reads from the default layer unless told otherwise.
    channels = _worker_channels() if alias == "default" else []
    if channels:
        yield checks.warning(
            3,
            f"CHANNEL_LAYERS[{alias!r}] is a Pub/Sub layer, and workers read the channels "
            f"{', '.join(channels)}: each worker gets every message, and with no worker running it "
            "is lost.",
            "Add a layer with the BACKEND channels_redis_queue.RedisChannelLayer, send the "
            "workers' messages there, and start them with: manage.py runworker --layer ALIAS.",
        )


def _worker_channels() -> list[str]:
    """Return the channels that the ASGI application routes."""
    try:
        application = get_default_application()
    except Exception:  # noqa: BLE001 - starting the site's own code shows why
        return []
    routes = getattr(application, "application_mapping", {})
    router = routes.get("channel") if isinstance(application, ProtocolTypeRouter) else None
    if not isinstance(router, ChannelNameRouter):
        return []
    return sorted(router.application_mapping)


check_layers = Checks("channels_redis_pubsub", RedisPubSubChannelLayer, check_general_channels)


class PubSubConfig(AppConfig):  # type: ignore[misc]  # Django has no type hints
    """Check the Pub/Sub layers in CHANNEL_LAYERS."""

    name = "channels_redis_pubsub"
    verbose_name = "Channels on Redis: Pub/Sub layer"

    def ready(self) -> None:
        """Register the checks."""
        register(check_layers)
