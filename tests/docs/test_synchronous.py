"""The example for gevent, in a process that gevent has patched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import programs
from support.pages import write_files

if TYPE_CHECKING:
    from pathlib import Path

    from embedded_server import EmbeddedServer

MAIN = """
from gevent import monkey

monkey.patch_all()

import sys
import gevent
from django.conf import settings

layer = {"BACKEND": sys.argv[1], "CONFIG": {"hosts": sys.argv[2:]} if sys.argv[2:] else {}}
settings.configure(CHANNEL_LAYERS={"default": layer})
import tasks

if layer["CONFIG"] == {}:
    # Lets all of them in.
    tasks.one_at_a_time = gevent.lock.BoundedSemaphore(10)
greenlets = [gevent.spawn(tasks.announce, f"Number {number}") for number in range(10)]
gevent.joinall(greenlets, timeout=30)
print(*sorted({repr(greenlet.exception) for greenlet in greenlets}))
"""


def run(folder: Path, *arguments: str) -> str:
    """Announce from ten greenlets; return what they raised."""
    pytest.importorskip("gevent", reason="gevent is not installed")
    write_files("synchronous.md", folder)
    (folder / "main.py").write_text(MAIN)
    return programs.run_new("main.py", *arguments, cwd=folder).out.strip()


@pytest.mark.parametrize(
    "layer",
    ["channels_redis_queue.RedisChannelLayer", "channels_redis_pubsub.RedisPubSubChannelLayer"],
)
def test_gevent(tmp_path: Path, redis_server: EmbeddedServer, layer: str) -> None:
    """Ten greenlets may announce at once, as the page writes it."""
    assert run(tmp_path, layer, redis_server.url) == "None"


def test_gevent_without_the_lock(tmp_path: Path) -> None:
    """Without the lock async_to_sync fails with any layer, in the words that the page has."""
    raised = run(tmp_path, "channels.layers.InMemoryChannelLayer")
    assert "RuntimeError('asyncio.run() cannot be called from a running event loop')" in raised
