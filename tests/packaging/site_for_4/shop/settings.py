"""The site's settings. The layer, its prefix and its server come from the environment."""

from __future__ import annotations

import os
import re

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["channels", "shop"]
ROOT_URLCONF = "shop.asgi"
ASGI_APPLICATION = "shop.asgi.application"
USE_TZ = True
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": os.environ["SHOP_LAYER"],
        "CONFIG": {
            "hosts": [os.environ["SHOP_REDIS"]],
            "prefix": os.environ["SHOP_PREFIX"],
            "expiry": 30,
            "group_expiry": 3600,
            "capacity": 200,
            "serializer_format": "json",
            "random_prefix_length": 16,
            "channel_capacity": {
                "http.request": 400,
                "http.response!*": 10,
                re.compile(r"^slow\.\w+$"): 2,
            },
            "symmetric_encryption_keys": ["a key of the shop"],
        },
    },
}
