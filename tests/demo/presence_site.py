"""A site with the view, consumer and script of the guide on presence, as an ASGI application."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import django
from django.conf import settings

FOLDER = Path(os.environ["GUIDE_FOLDER"])
PAGE = f"""<!doctype html>
<link rel="icon" href="data:,">
<ul id="list"></ul>
<script>
const socket = new WebSocket("ws://" + location.host + "/rooms/{{{{ room }}}}/");
function show(people) {{
  list.innerHTML = people.map(([, {{ metas }}]) => `<li>${{metas[0].name}}</li>`).join("");
}}
{(FOLDER / "people.js").read_text()}
</script>
"""

settings.configure(
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    SESSION_ENGINE="django.contrib.sessions.backends.file",
    SESSION_FILE_PATH=str(FOLDER),
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", {"room.html": PAGE})]
            },
        }
    ],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": os.environ["GUIDE_BACKEND"],
            "CONFIG": {"hosts": [os.environ["GUIDE_REDIS_URL"]]},
        }
    },
)
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402 - after Django was set up
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

consumers = runpy.run_path(str(FOLDER / "consumers.py"))
consumers["presence"].grace = 0.5
urlpatterns = [
    path("rooms/<slug:room>/", runpy.run_path(str(FOLDER / "views.py"))["room"]),
]
rooms = URLRouter([path("rooms/<slug:room>/", consumers["Room"].as_asgi())])
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": AuthMiddlewareStack(rooms)}
)
