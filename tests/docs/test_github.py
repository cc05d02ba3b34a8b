"""The pages read well on GitHub, which shows the same files as the site does."""

from __future__ import annotations

import html
import re
from collections import Counter
from functools import cache
from pathlib import Path

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

REPOSITORY = Path(__file__).parents[2]
ON_GITHUB = re.compile(r"https://github\.com/django/channels_redis/(?:blob|tree)/main/(.+)")
CONF = (REPOSITORY / "docs/conf.py").read_text()
(SITE,) = re.findall(r'^html_baseurl = "(.+)"$', CONF, re.MULTILINE)
UNSAFE = Options.CMARK_OPT_UNSAFE  # shows HTML, as GitHub does
RAW = re.compile(r"^:::|^\([\w-]+\)=$|\{\{|^\{|\{\w+\}$|^\[![A-Z]+\] |<picture|^: ", re.MULTILINE)


def pages() -> list[str]:
    """List the pages that people read on GitHub."""
    globs = ["*.md", ".github/*.md", "docs/*.md", "docs/architecture/*.md", "packages/*/README.md"]
    return [str(p.relative_to(REPOSITORY)) for glob in globs for p in REPOSITORY.glob(glob)]


@cache
def shown(page: Path) -> str:
    """The HTML of a page as GitHub renders it."""
    text = page.read_text(encoding="utf-8")
    return str(cmarkgfm.github_flavored_markdown_to_html(text, UNSAFE))


def texts(page: Path, tag: str) -> list[str]:
    """Return what a reader sees of each element with this tag."""
    found = re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", shown(page), re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "", text)) for text in found]


@cache
def anchors(page: Path) -> set[str]:
    """GitHub's anchors of the headings."""
    found: set[str] = set()
    headings: Counter[str] = Counter()
    for heading in texts(page, "h[1-6]"):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{headings[slug]}" if headings[slug] else slug)
        headings[slug] += 1
    return found


def target(page: str, link: str) -> tuple[Path, str] | None:
    """The file and the anchor that a link leads to, None outside of this project."""
    address, _, anchor = link.partition("#")
    if match := ON_GITHUB.fullmatch(address):
        return REPOSITORY / match[1], anchor
    if address.startswith(SITE):
        name = address.removeprefix(SITE) or "index.html"
        return REPOSITORY / "docs" / re.sub(r"\.html$", ".md", name), anchor
    if "://" in address or address.startswith("mailto:"):
        return None
    file = REPOSITORY / page
    return (file.parent / address).resolve() if address else file, anchor


@pytest.mark.parametrize("page", pages())
def test_nothing_is_raw(page: str) -> None:
    """No directive, role, anchor or attribute that GitHub shows as it is written."""
    path = REPOSITORY / page
    assert re.findall(r'<pre lang="[^"]*\{', shown(path)) == []
    assert [block for block in texts(path, "pre") if re.match(r":[\w-]+:", block)] == []
    without_code = re.sub(r"<code>.*?</code>", "`", shown(path), flags=re.DOTALL)
    prose = re.findall(r"<p(?: [^>]*)?>(.*?)</p>", without_code, re.DOTALL)
    assert [text for text in prose if RAW.search(html.unescape(text))] == []


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    """Each link to a file, to a page of the site or to a heading finds it."""
    dead = []
    for link in re.findall(r'(?:href|src)="([^"]*)"', shown(REPOSITORY / page)):
        found = target(page, html.unescape(link))
        if found is None:
            continue
        file, anchor = found
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(link)
    assert dead == []


def test_one_place() -> None:
    """The packages name the site as their documentation."""
    for project in REPOSITORY.glob("packages/*/pyproject.toml"):
        assert f'Documentation = "{SITE}"' in project.read_text()
