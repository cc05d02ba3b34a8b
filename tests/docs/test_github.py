"""The pages read well on GitHub, which shows the same files as the site does."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

REPOSITORY = Path(__file__).parents[2]
ON_GITHUB = re.compile(r"https://github\.com/django/channels_redis/(?:blob|tree)/main/(.+)")
CONF = (REPOSITORY / "docs/conf.py").read_text()
(SITE,) = re.findall(r'^html_baseurl = "(.+)"$', CONF, re.MULTILINE)
UNSAFE = Options.CMARK_OPT_UNSAFE  # shows HTML, as GitHub does
VOID = {"br", "hr", "img", "input", "source"}


def pages() -> list[str]:
    """List the pages that people read on GitHub."""
    globs = ["*.md", ".github/*.md", "docs/*.md", "docs/architecture/*.md", "packages/*/README.md"]
    return [str(p.relative_to(REPOSITORY)) for glob in globs for p in REPOSITORY.glob(glob)]


class Page(HTMLParser):
    """A file as GitHub shows it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.languages: set[str] = set()
        self.blocks: list[str] = []
        self.prose: list[str] = []
        self._headings: Counter[str] = Counter()
        self._open: list[str] = []
        self._heading = ""
        html = cmarkgfm.github_flavored_markdown_to_html(path.read_text(encoding="utf-8"), UNSAFE)
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect links and languages."""
        named = dict(attrs)
        if tag == "img":
            self.links.append(named["src"] or "")
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "a":
            self.links.append(named.get("href") or "")
        elif tag == "pre":
            self.languages.add(named.get("lang") or "")
            self.blocks.append("")
        elif tag == "p":
            self.prose.append("")

    def handle_data(self, data: str) -> None:
        """Collect what stands in blocks, headings and text, but for code within it."""
        if "pre" in self._open:
            self.blocks[-1] += data
        elif any(re.fullmatch("h[1-6]", tag) for tag in self._open):
            self._heading += data
        elif "p" in self._open:
            self.prose[-1] += "`" if "code" in self._open else data

    def handle_endtag(self, tag: str) -> None:
        """Make the anchor of a heading as GitHub does."""
        if tag in VOID:
            return
        self._open.pop()
        if re.fullmatch("h[1-6]", tag):
            slug = re.sub(r"[^\w\- ]", "", self._heading.strip().lower()).replace(" ", "-")
            times = self._headings[slug]
            self._headings[slug] += 1
            self.anchors.add(f"{slug}-{times}" if times else slug)
            self._heading = ""


@cache
def rendered(path: Path) -> Page:
    """Render a file once."""
    return Page(path)


def target(page: str, link: str) -> tuple[Path, str] | None:
    """Return the file and the anchor that a link leads to, None outside of this project."""
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
    shown = rendered(REPOSITORY / page)
    assert [language for language in shown.languages if "{" in language] == []
    assert [block for block in shown.blocks if re.match(r":[\w-]+:", block)] == []
    raw = re.compile(r"^:::|^\([\w-]+\)=$|\{\{|^\{|\{\w+\}$|^\[![A-Z]+\] |<picture", re.MULTILINE)
    assert [text for text in shown.prose if raw.search(text)] == []
    assert [text for text in shown.prose if re.search("^: ", text, re.MULTILINE)] == []


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    """Each link to a file, to a page of the site or to a heading finds it."""
    dead = []
    for link in rendered(REPOSITORY / page).links:
        found = target(page, link)
        if found is None:
            continue
        file, anchor = found
        if not file.exists() or (anchor and anchor not in rendered(file).anchors):
            dead.append(link)
    assert dead == []


def test_one_place() -> None:
    """The packages name the site as their documentation."""
    for project in REPOSITORY.glob("packages/*/pyproject.toml"):
        assert f'Documentation = "{SITE}"' in project.read_text()
