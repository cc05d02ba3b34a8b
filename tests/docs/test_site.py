"""The built site: its search finds pages by the words that people use, and its files are there."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

pytestmark = pytest.mark.site

SITE = Path(__file__).parents[2] / "docs/_build/html"


def pages_with_in_title(words: list[str]) -> set[str]:
    """The pages that have all of the words in their headings."""
    text = (SITE / "searchindex.js").read_text()
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    found = set(index["docnames"])
    for word in words:
        numbers = index["titleterms"].get(word, [])
        # One number stands for a list of one.
        numbers = numbers if isinstance(numbers, list) else [numbers]
        found &= {index["docnames"][number] for number in numbers}
    return found


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("who is online", "presence"),
        ("datetime", "recipes"),
        ("exclude", "recipes"),
        ("types", "recipes"),
        ("prometheus", "monitoring"),
        ("grafana", "monitoring"),
        ("sentry", "monitoring"),
        ("windows", "recipes"),
        ("persistence", "deployment"),
        ("sentinel", "servers"),
        ("doctor", "operations"),
        ("encryption", "security"),
    ],
)
def test_search(query: str, page: str) -> None:
    """The page has the words in a heading, so it is among the first results."""
    # Sphinx is in the environment of the documentation only.
    language = import_module("sphinx.search.en").SearchEnglish({})
    words = [language.stem(word) for word in query.lower().split()]
    wanted = [word for word in words if word not in language.stopwords]
    assert wanted, "the search ignores all of these words"
    found = pages_with_in_title(wanted)
    assert page in found
    assert len(found) <= 4


def test_front_page() -> None:
    """It has the versions, the repository, pictures for both themes, its address, and downloads."""
    front = (SITE / "index.html").read_text()
    assert 'href="https://github.com/django/channels_redis"' in front
    assert len(re.findall(r"channels-redis\S* \d+\.\d+\.\d+", front)) >= 3
    for theme in ("light", "dark"):
        assert re.search(rf'<img [^>]*class="only-{theme}"', front)
    assert '<link rel="canonical" href="https://django.github.io/channels_redis/' in front
    assert len(re.findall(r"<img [^>]*_images/", front)) >= 3
    [dashboard] = SITE.glob("_downloads/*/grafana.json")
    assert json.loads(dashboard.read_text())["panels"]


def test_nothing_is_raw() -> None:
    """The pages have no instruction to the site left."""
    for page in SITE.rglob("*.html"):
        text = re.sub(r"<pre>.*?</pre>", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r"\{\{|(?:&lt;|<)!-- site", text), page
