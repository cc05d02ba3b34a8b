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

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": os.environ["CHAT_LAYER"],
        "CONFIG": {
            "hosts": [os.environ["CHAT_REDIS_URL"]],
            "history": {"room.*": {"size": 1000, "ttl": 3600}},
            "on_gap": "chat.gap",
        },
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "server": {"format": f"[{os.environ['CHAT_SERVER']}] %(levelname)s %(name)s: %(message)s"}
    },
    "handlers": {"terminal": {"class": "logging.StreamHandler", "formatter": "server"}},
    "root": {"handlers": ["terminal"], "level": "WARNING"},
}
