"""The fixtures that the tests of operations share."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import pytest
from django.conf import UserSettingsHolder, settings

from support.layers import layer_class, layers, make_layer

__all__ = ["layer_class", "layers", "make_layer"]

QUEUE = "channels_redis_queue.RedisChannelLayer"
PUBSUB = "channels_redis_pubsub.RedisPubSubChannelLayer"
BOTH = [("channels_redis_queue", QUEUE), ("channels_redis_pubsub", PUBSUB)]


class Check(Protocol):
    """Returns what the checks of an app say of a project with these layers."""

    def __call__(self, app: str, channel_layers: Any, **changed: Any) -> list[Any]:
        """Check; more keywords are other settings."""


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Check:
    """Return a function that checks, in this process, and leaves the settings as they were."""
    if not settings.configured:
        settings.configure()

    def run(app: str, channel_layers: Any, **changed: Any) -> list[Any]:
        holder = UserSettingsHolder(settings._wrapped)  # noqa: SLF001 - as Django's tests do
        holder.CHANNEL_LAYERS = channel_layers
        for name, value in {"SECRET_KEY": "another", **changed}.items():
            setattr(holder, name, value)
        monkeypatch.setattr(settings, "_wrapped", holder)
        found: list[Any] = import_module(f"{app}.apps").check_layers(app_configs=None)
        return found

    return run
