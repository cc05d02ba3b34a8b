"""Sphinx settings of the documentation: `hatch run docs:build`."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "packages"
# They say what the package is, before its features.
FIRST_FRAGMENTS = {"+first-release.added.md", "+rewritten.changed.md"}

project = "channels-redis"
VERSIONS = {
    name: metadata.version(name)
    for name in ("channels-redis", "channels-redis-pubsub", "channels-redis-queue")
}
release = VERSIONS["channels-redis"]
copyright = "2026, the channels-redis contributors"  # noqa: A001 - Sphinx names it so
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

myst_enable_extensions = ["attrs_block", "deflist", "substitution"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_rtype = False
# Names of other projects can't be looked up without a network; a wrong one of ours is an error.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!channels_redis).*"),
    # The page has the queue layer's, which have the same fields.
    (r"py:class", r"channels_redis_pubsub\._shared\.(ops\.statistics|history\.results)\.\w+"),
]


def _unreleased(package: str) -> str:
    """Return what the next version's changelog will say, from the fragments of each change."""
    found = (PACKAGES / package / "changelog.d").glob("*.md")
    fragments = sorted(found, key=lambda one: (one.name not in FIRST_FRAGMENTS, one.name))
    return "\n".join(f"- {fragment.read_text().strip()}" for fragment in fragments) or "Nothing."


myst_substitutions = {name.replace("-", "_"): _unreleased(name) for name in VERSIONS}
myst_substitutions |= {
    f"{name}_version".replace("-", "_"): version for name, version in VERSIONS.items()
}
