"""The page on testing: its project's tests, and its statements about `flush`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from support import programs
from support.pages import DOCS
from support.sites import start_project

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = {
    "queue": "channels_redis_queue.RedisChannelLayer",
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project of the quick start with the tests of the page."""
    start_project(tmp_path, "quickstart.md", "testing.md")
    shutil.copy(DOCS / "examples/embedded_server.py", tmp_path / "tests")
    return tmp_path


def run_tests(project: Path, *options: str) -> str:
    """Run the project's tests, with warnings as errors; return what pytest says at its end."""
    done = programs.run("-m", "pytest", "-q", "-W", "error", *options, cwd=project)
    assert done.status == 0, done.out[-4000:] + done.err
    return done.out.splitlines()[-1]


def test_with_the_queue_layer(project: Path) -> None:
    """All tests of the page pass, and leave nothing open."""
    assert run_tests(project).startswith("5 passed")


def test_with_pubsub(project: Path) -> None:
    """Those of consumers pass with Pub/Sub as well; that of a worker's messages can't."""
    settings = project / "mysite/settings.py"
    settings.write_text(settings.read_text().replace(LAYERS["queue"], LAYERS["pubsub"]))
    assert run_tests(project, "tests/test_chat.py").startswith("4 passed")


def test_in_one_loop(project: Path) -> None:
    """The fixture closes what it opened where one event loop serves all tests, too."""
    ini = project / "pytest.ini"
    text = ini.read_text().replace("fixture_loop_scope = function", "fixture_loop_scope = session")
    ini.write_text(text + "asyncio_default_test_loop_scope = session\n")
    assert run_tests(project).startswith("5 passed")
