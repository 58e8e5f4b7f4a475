"""Checks a built site: every link leads somewhere, and nothing is fetched from elsewhere.

python docs/hooks/check_site.py site
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FETCHED = {"script": "src", "link": "href", "img": "src", "image": "href", "iframe": "src"}


class _Page(HTMLParser):
    """Links, anchors and what a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in _FETCHED and _FETCHED[tag] in given and given.get("rel") != "canonical":
            self.fetched.append(given[_FETCHED[tag]])


def problems(folder: Path) -> Iterator[str]:
    """One sentence for each link or address that is wrong."""
    pages = {
        path: _Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))
    }
    for path, page in pages.items():
        where = path.relative_to(folder)
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme in ("mailto", "data"):
                continue
            if parts.scheme or parts.netloc:
                if link in page.fetched:
                    yield f"{where} fetches {link}"
                continue
            if where.name == "404.html":  # served for any address: its links begin at the root
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            if not target.is_file():
                yield f"{where} links to {link}, which is not there"
            elif target.suffix == ".html" and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where} links to {link}, which has no such anchor"
    for path in sorted(folder.rglob("*.css")):
        for address in re.findall(r"url\(['\"]?(https?:[^)'\"]+)|@import", path.read_text("utf-8")):
            yield f"{path.relative_to(folder)} fetches {address or 'by @import'}"


def main() -> None:
    """Check the folder that is named and tell the first 50 problems; exit status 1 if any."""
    folder = Path(sys.argv[1]).resolve()
    found = [*problems(folder)]
    print(*found[:50], sep="\n", file=sys.stderr)
    pages = len([*folder.rglob("*.html")])
    print(
        f"{pages} pages, {len(found)} problems" if found else f"{pages} pages, every link is right"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
