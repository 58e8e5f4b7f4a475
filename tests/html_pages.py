"""What a page must be: balanced, self-contained, and text where it shows what others wrote."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements and text of a page; raises where an element is not closed as it was opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> was never opened"
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data))

    @property
    def text(self) -> str:
        """All that is shown, with single spaces."""
        shown = (text for tag, text in self.texts if tag not in ("style", "script"))
        return " ".join(" ".join(shown).split())

    def count(self, tag: str, **attributes: str) -> int:
        """Elements with these attributes."""
        return sum(
            name == tag and all(given.get(key) == value for key, value in attributes.items())
            for name, given in self.elements
        )


def check_page(path: Path) -> Page:
    """Parse a page and check what holds for every page."""
    page = Page(path)
    assert not re.search(r"(?:https?:)?//[\w.]+\.\w", page.source), "an address of another place"
    assert "@import" not in page.source
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            if name in ("src", "href", "xlink:href", "action"):
                assert value is not None
                pixels = tag == "image" and value.startswith("data:image/png;base64,")
                assert value.startswith("#") or pixels, value
    ids = [given["id"] for _, given in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    for _, given in page.elements:
        target = given.get("href")
        assert target is None or target.startswith("data:") or target[1:] in ids
    # Data are no programs, and of those the policy names the one there is.
    kinds = [given.get("type") for tag, given in page.elements if tag == "script"]
    assert kinds.count(None) == 1
    assert {*kinds} <= {None, "application/json", "text/plain"}
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page.source
    assert page.count("style") == 1
    (language,) = [given.get("lang") for tag, given in page.elements if tag == "html"]
    assert language == "en"
    for tag, given in page.elements:
        if tag == "svg":
            assert given.get("aria-hidden") == "true" or given.get("aria-label")
        if tag == "th":
            assert given.get("scope") in ("col", "row", "rowgroup")
    return page
