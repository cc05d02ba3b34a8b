"""The ACL rules that the documentation gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from channels_redis_queue import RedisChannelLayer

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.layers import LayerClass

PAGE = Path(__file__).parents[2] / "docs/servers.md"
PASSWORD = "wonderland"


def rule_of(layer_class: LayerClass) -> list[str]:
    """Return the words of the rule for a layer, from the user's name on, with a password."""
    name = "channels-queue" if layer_class is RedisChannelLayer else "channels-pubsub"
    (rule,) = re.findall(rf"^ACL SETUSER ({name} .+)$", PAGE.read_text(), re.MULTILINE)
    return str(rule).replace("PASSWORD", PASSWORD).split()


def addition_of(layer_class: LayerClass, feature: str) -> list[str]:
    """Return the words that "presence" or "history" adds to the rule for a layer."""
    title = {"presence": "Rules for presence", "history": "Histories of groups"}[feature]
    section = PAGE.read_text().partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    queue, pubsub = re.findall(r"^```text\n(.+)\n```$", section, re.MULTILINE)
    return str(queue if layer_class is RedisChannelLayer else pubsub).split()


def restricted(
    server: EmbeddedServer, layer_class: LayerClass, *more: str, without: str = ""
) -> dict[str, str]:
    """Make the user on a server; return what a layer's `hosts` has for it.

    Args:
        server: The server.
        layer_class: Whose rule it is.
        more: Words to add to the rule.
        without: A word to leave out of it.
    """
    words = [word for word in rule_of(layer_class) if word != without]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *words, *more)
    return {"address": server.url, "username": words[0], "password": PASSWORD}
