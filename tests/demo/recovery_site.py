"""A site with the consumer and the script of the guide on recovery, as an ASGI application."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from channels.routing import ProtocolTypeRouter
from django.conf import settings

FOLDER = Path(os.environ["GUIDE_FOLDER"])
PAGE = f"""<!doctype html>
<link rel="icon" href="data:,">
<ul id="talk"></ul>
<script>
{(FOLDER / "follow.js").read_text()}
let reloads = 0;
let closed = false;
window.WebSocket = class extends WebSocket {{
  constructor(url) {{
    super(url);
    this.addEventListener("close", () => {{ closed = true; }});
  }}
}};
const say = follow(
  "ws://" + location.host + "/chat/",
  (message) => talk.insertAdjacentHTML("beforeend", `<li>${{message.text}}</li>`),
  () => {{ reloads += 1; }},
);
</script>
"""

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": os.environ["GUIDE_BACKEND"],
            "CONFIG": {
                "hosts": [os.environ["GUIDE_REDIS_URL"]],
                "history": {"chat.*": {}},
                "on_gap": "chat.gap",
            },
        }
    }
)


async def page(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI's
    """Send the page."""
    headers = [(b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PAGE.encode()})


Chat = runpy.run_path(str(FOLDER / "consumers.py"))["Chat"]
application = ProtocolTypeRouter({"http": page, "websocket": Chat.as_asgi()})
