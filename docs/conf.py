"""Sphinx settings of the documentation: `hatch run docs:build`."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PACKAGES = Path(__file__).parents[1] / "packages"
# What only this site shows is in comments, since GitHub shows the same files.
SITE_ONLY = re.compile(r"^<!-- site\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
# A picture for each theme: GitHub picks one itself.
THEMED = re.compile(
    r"^<picture>\n *<source [^>]*srcset=\"(?P<dark>\S+)\">\n"
    r" *<img src=\"(?P<light>\S+)\" alt=\"(?P<alt>[^\"]+)\">\n</picture>$",
    re.MULTILINE,
)
BOTH_THEMES = """\
```{image} \\g<light>
:alt: \\g<alt>
:class: only-light
```

```{image} \\g<dark>
:alt: \\g<alt>
:class: only-dark
```"""
# They say what the package is, before its features.
FIRST_FRAGMENTS = {"+first-release.added.md", "+first-release.changed.md"}

project = "channels-redis"
VERSIONS = {
    name: metadata.version(name)
    for name in ("channels-redis", "channels-redis-pubsub", "channels-redis-queue")
}
release = VERSIONS["channels-redis"]
copyright = "2026, the channels-redis contributors"  # noqa: A001 - Sphinx names it so
html_baseurl = "https://django.github.io/channels_redis/"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "examples"]
# What docstrings have in single backticks.
default_role = "code"
html_theme = "furo"
html_title = f"channels-redis {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": "https://github.com/django/channels_redis/",
    "source_branch": "main",
    "source_directory": "docs/",
}

myst_enable_extensions = ["alert", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_rtype = False
# Names of other projects can't be looked up without a network; a wrong one of ours is an error.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!channels_redis).*"),
    # The page has the queue layer's, which have the same fields.
    (r"py:class", r"channels_redis_pubsub\._shared\.(ops\.statistics|history)\.\w+"),
]


def _changes(package: str) -> str:
    """Return what the next version's changelog will say, and what those of the others say."""
    found = (PACKAGES / package / "changelog.d").glob("*.md")
    fragments = sorted(found, key=lambda one: (one.name not in FIRST_FRAGMENTS, one.name))
    unreleased = "\n".join(f"- {fragment.read_text().strip()}" for fragment in fragments)
    changelog = (PACKAGES / package / "CHANGELOG.md").read_text()
    released = changelog.partition("<!-- towncrier release notes start -->\n")[2]
    return f"Not released yet:\n\n{unreleased or '- Nothing.'}\n\n" + re.sub(
        "^##", "###", released, flags=re.MULTILINE
    )


def _for_site(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Take out of comments what GitHub can't show, and fill in versions and changes."""
    text = THEMED.sub(BOTH_THEMES, SITE_ONLY.sub(r"\1", source[0]))
    for package, version in VERSIONS.items():
        text = text.replace(f"{{{{ version of {package} }}}}", version)
        text = text.replace(f"{{{{ changes in {package} }}}}", _changes(package))
    source[0] = text


def setup(app: Sphinx) -> None:
    """Prepare each page before it is parsed."""
    app.connect("source-read", _for_site)
