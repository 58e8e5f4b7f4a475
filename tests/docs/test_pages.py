"""Pages are short and of one kind each; what has moved is found where old links lead."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
KINDS = ("Tutorials", "How to", "Reference", "Explanations")
MOST_WORDS = 1500


def prose(page: str) -> str:
    """The text of a page without code and tables, which are looked up rather than read."""
    text = re.sub(r"^ *```.*?^ *```", "", page, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("|"))


def test_what_counts_as_prose() -> None:
    page = "one two\n\n| a | b |\n| --- | --- |\n\n```python\nthree = 3\n```\n\n- four `five`\n"
    assert prose(page).split() == ["one", "two", "-", "four", "`five`"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_short(page: Path) -> None:
    words = len(prose(page.read_text(encoding="utf-8")).split())
    assert words < MOST_WORDS, f"{words} words: split the page by what a reader wants from it"


def _pages_below(nav: Any) -> list[str]:
    if isinstance(nav, dict):
        nav = [*nav.values()]
    if isinstance(nav, list):
        return [page for each in nav for page in _pages_below(each)]
    return [nav]


def test_every_page_is_of_one_kind() -> None:
    config = (DOCS / "nav.yml").read_text(encoding="utf-8")
    nav = {key: value for entry in yaml.safe_load(config) for key, value in entry.items()}
    assert (*nav,) == KINDS
    listed = [page for pages in nav.values() for page in _pages_below(pages)]
    for page in PAGES:
        if page.name == "index.md":  # the home page is of no kind
            continue
        assert listed.count(page.name) == 1, page.name


def test_moved_sections_are_where_old_links_lead() -> None:
    moved = json.loads((DOCS / "redirects.json").read_text(encoding="utf-8"))
    assert moved

    def anchors(page: str) -> set[str]:
        text = (DOCS / page).with_suffix(".md").read_text(encoding="utf-8")
        heads = re.findall(r"^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", text), flags=re.MULTILINE)
        return {_slug(head) for head in heads}

    for old, new in moved.items():
        page, _, anchor = new.partition("#")
        assert not anchor or anchor in anchors(page), new
        old_page, _, old_anchor = old.partition("#")
        assert not old_anchor or old_anchor not in anchors(old_page), f"{old} is still there"


def _slug(head: str) -> str:
    plain = unicodedata.normalize("NFKD", head).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
