"""Django settings: no database, no sessions, one page, one WebSocket, one channel layer."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SECRET_KEY = secrets.token_urlsafe()  # Nothing here is signed.
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "chat_site.page"
ASGI_APPLICATION = "chat_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent],
    }
]
USE_TZ = True
TIME_ZONE = "UTC"

LAYER = os.environ["CHAT_LAYER"]
OPTIONS: dict[str, object] = {"hosts": [os.environ["CHAT_REDIS_URL"]]}
if "PubSub" in LAYER:
    # Messages published while Redis is away are lost; consumers are notified and catch up.
    OPTIONS["on_reconnect"] = "redis.reconnected"
CHANNEL_LAYERS = {"default": {"BACKEND": LAYER, "CONFIG": OPTIONS}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "server": {"format": f"[{os.environ['CHAT_SERVER']}] %(levelname)s %(name)s: %(message)s"}
    },
    "handlers": {"terminal": {"class": "logging.StreamHandler", "formatter": "server"}},
    "root": {"handlers": ["terminal"], "level": "WARNING"},
}
