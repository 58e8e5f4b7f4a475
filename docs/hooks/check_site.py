"""Checks a built site: links lead somewhere, so do addresses of old, and nothing is fetched.

python docs/hooks/check_site.py site
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from redirects import redirects

_CSS_FETCHES = re.compile(r"(?:url\(|@import\s)['\"\s]*(https?:[^)'\"]+)")
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
        path: _Page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.relative_to(folder).parts  # of the theme: no page
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
        for address in _CSS_FETCHES.findall(path.read_text("utf-8")):
            yield f"{path.relative_to(folder)} fetches {address}"


def lost(
    folder: Path, addresses: Iterable[str], moved: Mapping[str, dict[str, str]]
) -> Iterator[str]:
    """One sentence for each address that the site had and that leads nowhere now."""
    pages: dict[str, set[str]] = {}
    for address in [*addresses, *(new for ways in moved.values() for new in ways.values())]:
        page, _, anchor = address.partition("#")
        if page not in pages:
            path = folder / page
            found = _Page(path.read_text(encoding="utf-8")).anchors if path.exists() else set()
            pages[page] = found | {*moved.get(page, {})}
        if anchor not in pages[page] and "" not in moved.get(page, {}):
            yield f"{address} is gone: say in docs/redirects.json where its readers shall go"


def main() -> None:
    """Check the folder that is named and tell the first 50 problems; exit status 1 if any."""
    folder, docs = Path(sys.argv[1]).resolve(), Path(__file__).parents[1]
    found = [
        *problems(folder),
        *lost(folder, (docs / "urls.txt").read_text("utf-8").split(), redirects(docs)),
    ]
    print(*found[:50], sep="\n", file=sys.stderr)
    pages = len([*folder.rglob("*.html")])
    print(
        f"{pages} pages, {len(found)} problems" if found else f"{pages} pages, every link is right"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
