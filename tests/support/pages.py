"""Helpers for tests of the documentation: the files that a page contains, block by block."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
LOCALHOST = "redis://localhost:6379/0"
# The words before a block that is a whole file, or an addition to the settings, end with its path.
PATH = r"`(?P<path>[\w./@-]*\.(?:conf|ini|js|py|service|yml)|Caddyfile)`:\n\n"
FILE = re.compile(rf"{PATH}```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(page: str, folder: Path, url: str = LOCALHOST) -> None:
    """Write the blocks of a page that are files.

    Args:
        page: The page's file in `docs`.
        folder: Where to write them. What is for settings is added to those that are there.
        url: A server's URL, in place of that on localhost.
    """
    for match in FILE.finditer((DOCS / page).read_text()):
        file = folder / match["path"]
        file.parent.mkdir(exist_ok=True)
        before = file.read_text() if file.name == "settings.py" else ""
        file.write_text(before + match["text"].replace(LOCALHOST, url))
