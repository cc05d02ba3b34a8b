"""The project of the page on workers does what it says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

from support import programs
from support.pages import DOCS
from support.sites import running, start_project
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

BACKEND = "django.core.mail.backends.filebased.EmailBackend"
MAIL = f'EMAIL_BACKEND = "{BACKEND}"\nEMAIL_FILE_PATH = BASE_DIR / "mails"\n'
# Where a new project has this setting, the former ones are refused.
MAIL_6_1 = f"""
MAILERS = {{"default": {{"BACKEND": "{BACKEND}", "OPTIONS": {{"file_path": BASE_DIR / "mails"}}}}}}
"""


@pytest.mark.slow
async def test_page(tmp_path: Path, redis_server: EmbeddedServer) -> None:
    """The worker sends the mail that the block for a view asks for."""
    start_project(tmp_path, "workers.md", url=redis_server.url)
    with (tmp_path / "mysite/settings.py").open("a") as settings:
        settings.write(MAIL_6_1 if django.VERSION >= (6, 1) else MAIL)
    page = (DOCS / "workers.md").read_text()
    (view,) = [block for block in page.split("```python\n") if block.startswith("from asgiref")]
    sent = programs.run("manage.py", "shell", "-c", view.partition("```")[0], cwd=tmp_path)
    assert sent.status == 0, sent.err
    command = (sys.executable, "manage.py", "channels_redis_queue", "work", "emails", "prices")
    async with running(*command, "--concurrency", "10", cwd=tmp_path) as worker:
        mail = await eventually(lambda: "".join(map(Path.read_text, tmp_path.glob("mails/*.log"))))
        assert "To: ada@example.com" in mail
        worker.terminate()
        assert await worker.wait() == 0
