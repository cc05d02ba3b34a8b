"""Sphinx settings of the documentation: `hatch run docs:build`."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PACKAGES = Path(__file__).parents[1] / "packages"

project = "channels-redis"
release = metadata.version("channels-redis")
copyright = "2026, the channels-redis contributors"  # noqa: A001 - Sphinx names it so
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples"]
# What docstrings have in single backticks.
default_role = "code"
html_theme = "furo"
html_title = "channels-redis"

myst_enable_extensions = ["deflist", "substitution"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_rtype = False
# Names of other projects can't be looked up without a network; a wrong one of ours is an error.
nitpick_ignore_regex = [(r"py:.*", r"(?!channels_redis).*")]


def _unreleased(package: str) -> str:
    """Return what the next version's changelog will say, from the fragments of each change."""
    fragments = sorted((PACKAGES / package / "changelog.d").glob("*.md"))
    return "\n".join(f"- {fragment.read_text().strip()}" for fragment in fragments) or "Nothing."


myst_substitutions = {
    name.replace("-", "_"): _unreleased(name)
    for name in ("channels-redis", "channels-redis-pubsub", "channels-redis-queue")
}

# An image for light and one for dark pages, in the form that GitHub shows.
PICTURE = re.compile(
    r'^<picture>\n<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\n'
    r'<img alt="(?P<alt>[^"]*)" src="(?P<light>[^"]+)">\n</picture>$',
    re.MULTILINE,
)


def _both_images(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Turn such pictures into images of which furo shows the one for the reader's choice."""

    def images(picture: re.Match[str]) -> str:
        return "\n\n".join(
            f"```{{image}} {picture[mode]}\n:alt: {picture['alt']}\n:class: only-{mode}\n```"
            for mode in ("light", "dark")
        )

    source[0] = PICTURE.sub(images, source[0])


def setup(app: Sphinx) -> None:
    """Have each page's source go through `_both_images`."""
    app.connect("source-read", _both_images)
