"""Lays out all pages of the site, and has Sphinx build it.

python docs/hooks/build_site.py site

Pages that a reader of the repository sees as files stay as they are; what only the site can have is
made here: a page for everything on offer, the API reference, pages of files outside of docs/, and
the navigation of docs/nav.yml.
"""

from __future__ import annotations

import functools
import gc
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import api_pages
import offer_pages
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?\)")
_FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\|.*$", re.MULTILINE)

Group = tuple[str, list[tuple[str, str]]]
"""A caption, and the pages below it with the names that the navigation gives them."""

_NAMES_LEAD_TO = {
    "losses.md": ("losses",),
    "losses-monai.md": ("losses",),
    "seed-losses.md": ("losses",),
    "topology.md": ("losses", "metrics"),
    "metrics.md": ("metrics",),
    "metrics-lesions.md": ("metrics",),
    "metrics-challenges.md": ("metrics",),
    "metrics-probabilities.md": ("metrics",),
    "detection.md": ("detection",),
    "choosing.md": ("losses", "metrics"),
    "suggest.md": ("losses", "metrics"),
    "study-results.md": ("losses", "metrics"),
}
"""Pages in whose tables names are links, and where these look first."""

INCLUDED = {
    "README.md": "about/readme.md",
    "CHANGELOG.md": "about/changelog.md",
    "CONTRIBUTING.md": "about/contributing.md",
    **{
        f"bundles/{page.parts[-3]}/docs/README.md": f"bundles/{page.parts[-3]}.md"
        for page in sorted((ROOT / "bundles").glob("*/docs/README.md"))
    },
}
"""Pages of the repository outside of docs/, and what they are called on the site."""

_KINDS = {
    "Tutorials": "Lessons from nothing to a result, each to be followed from top to bottom.",
    "How to": "Recipes for one task each; they expect that you know what you want.",
    "Reference": "What there is and what exactly it does, to look up.",
    "Explanations": "How things work, why they are so, and what was measured.",
}
"""The parts of the navigation, and what the page of each says first."""


@functools.cache
def pages() -> dict[str, Callable[[], str]]:
    """What makes each page of the site but for the gallery, as Markdown with links of the site."""
    files = [path for path in sorted(DOCS.rglob("*.md")) if "hooks" not in path.parts]
    sources = {f"docs/{path.relative_to(DOCS)}": str(path.relative_to(DOCS)) for path in files}
    return {
        **_generated(),
        **{path: partial(_read, source, path) for source, path in (sources | INCLUDED).items()},
    }


def _generated() -> dict[str, Callable[[], str]]:
    """The pages that are made here, and what makes them."""
    offers = {offer_pages.path_of(each): each for each in offer_pages.offers()}
    modules = {api_pages.path_of(module): module for module in _modules()}
    return {
        "api/index.md": api_pages.index,
        **{path: partial(offer_pages.page_of, offer) for path, offer in offers.items()},
        **{path: partial(api_pages.page_of, module) for path, module in modules.items()},
    }


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(_generated())


def _modules() -> list[str]:
    return [module for modules in api_pages.MODULES.values() for module in modules]


def _read(source: str, path: str) -> str:
    """A file of the repository, whose links lead to pages and whose tables' names are links."""
    text = _moved((ROOT / source).read_text(encoding="utf-8"), source, path)
    if path in _NAMES_LEAD_TO:
        text = _ROW.sub(lambda row: _linked_names(row[0], path), text)
    return text


def _linked_names(row: str, path: str) -> str:
    """A row of a table whose names lead to their pages."""

    def link(name: re.Match[str]) -> str:
        targets = (f"{folder}/{name[1]}.md" for folder in _NAMES_LEAD_TO[path])
        target = next((each for each in targets if each in _names()), None)
        return f"[`{name[1]}`]({target})" if target else name[0]

    return re.sub(r"(?<!\[)`(\w+)`", link, row)


def _moved(text: str, source: str, path: str) -> str:
    """Links of a file of the repository, seen from where its page lies on the site."""
    parts = _FENCED.split(text)
    parts[::2] = [_LINK.sub(lambda link: _link(link, source, path), part) for part in parts[::2]]
    return "".join(parts)


def _link(link: re.Match[str], source: str, path: str) -> str:
    head, target, anchor = link[1], link[2], link[3] or ""
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if (ROOT / leads_to).is_dir() and (ROOT / leads_to / "README.md").exists():
        leads_to += "/README.md"
    name = head.lstrip("!")[1:-2]
    if leads_to in INCLUDED:
        leads_to = INCLUDED[leads_to]
    elif leads_to.startswith("docs/"):
        leads_to = leads_to.removeprefix("docs/")
    else:  # a file of the repository that is no page: its name says enough
        return f"{name} (`{leads_to}`)" if (ROOT / leads_to).exists() else link[0]
    there = posixpath.relpath(leads_to, posixpath.dirname(path) or ".")
    if not head.startswith("!") and not leads_to.endswith(".md"):  # a file beside the pages
        return f'<a href="{there}">{name}</a>'
    return f"{head}{there}{anchor})"


def navigation() -> dict[str, Any]:
    """The kinds of pages in docs/nav.yml, and the entries of each."""
    kinds = yaml.safe_load((DOCS / "nav.yml").read_text(encoding="utf-8"))
    return {name: entries for kind in kinds for name, entries in kind.items()}


def with_contents(texts: dict[str, str]) -> dict[str, str]:
    """The pages, those of the navigation's kinds among them, each with what lies below it."""
    below: dict[str, list[Group]] = {"index.md": [("", [(k, part_of(k)) for k in navigation()])]}
    texts = {**texts, **{part_of(kind): f"# {kind}\n\n{_KINDS[kind]}\n" for kind in navigation()}}
    for kind, entries in navigation().items():
        alone = [entry for entry in entries if not isinstance(_named(entry)[1], list)]
        captions = [_named(entry) for entry in entries if entry not in alone]
        groups = [(name, _entries(each, below)) for name, each in [("", alone), *captions] if each]
        below[part_of(kind)] = groups
        texts[part_of(kind)] += "".join(_listed(*group, texts) for group in groups)
    for page, groups in below.items():
        texts[page] += "".join(_toctree(*group, texts) for group in groups)
    return texts


def part_of(kind: str) -> str:
    """The page of a part of the navigation."""
    return f"{kind.lower().replace(' ', '-')}.md"


def _named(entry: Any) -> tuple[str, Any]:
    """The name that the navigation gives, and what it stands for."""
    ((name, what),) = entry.items() if isinstance(entry, dict) else (("", entry),)
    return name, what


def _entries(entries: list[Any], below: dict[str, list[Group]]) -> list[tuple[str, str]]:
    """The named pages of a group; pages of a kind are noted below the page before, if any."""
    found: list[tuple[str, str]] = []
    for name, page in map(_named, entries):
        pages = [("", each) for each in _made(page[1:-1])] if "<" in page else [(name, page)]
        if "<" in page and found:
            below[found[-1][1]] = [("", pages)]
        else:
            found += pages
    return found


def _made(kind: str) -> list[str]:
    """The pages of a kind that is made here, losses and metrics by family."""
    if kind == "bundles":
        return [path for path in INCLUDED.values() if path.startswith("bundles/")]
    if kind == "api":
        return [api_pages.path_of(name) for name in _modules()]
    offers = sorted(offer_pages.offers(), key=lambda offer: offer.record.family)
    return [path for path in map(offer_pages.path_of, offers) if path.startswith(f"{kind}/")]


def _listed(caption: str, pages: list[tuple[str, str]], texts: dict[str, str]) -> str:
    """A caption, and the pages below it with what they say first."""
    rows = []
    for name, page in pages:
        title = _title(texts[page])
        says = _first(texts[page]) or (title if title != name else "")
        rows.append(f"* [{name or title}]({page}){': ' * bool(says)}{says}\n")
    return (f"\n## {caption}\n\n" if caption else "\n") + "".join(rows)


def _toctree(caption: str, pages: list[tuple[str, str]], texts: dict[str, str]) -> str:
    """The same for the side bar."""
    rows = [f"{name or _title(texts[p])} </{p.removesuffix('.md')}>\n" for name, p in pages]
    head = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n{head}:hidden:\n\n{''.join(rows)}```\n"


def _title(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    if not found:
        raise ValueError(f"expected a page with a heading, got {text[:80]!r}")
    return found[1].replace("`", "")


def _first(text: str) -> str:
    """The first sentence below the heading of a page, if there is one."""
    found = re.search(r"^# .+\n+(\w.*(?:\n.+)*)", text)
    sentence = re.split(r"(?<=[.:]) ", " ".join(found[1].split()))[0] if found else ""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", sentence) if sentence[-1:] == "." else ""


def _text_of(path: str) -> str:
    return pages()[path]()


def lay_out(folder: Path) -> None:
    """Write all that Sphinx reads; the drawings take a second processor as well."""
    with ProcessPoolExecutor() as workers:
        texts = dict(zip(pages(), workers.map(_text_of, pages(), chunksize=4), strict=True))
    texts["losses/gallery.md"] = offer_pages.gallery(texts)
    for path, text in with_contents(texts).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    shutil.copytree(DOCS / "pictures", folder / "pictures")


def main() -> None:
    """Build the site in the folder that is named; a warning is an error."""
    from sphinx.cmd.build import build_main

    here, site = str(Path(__file__).parent), Path(sys.argv[1])
    shutil.rmtree(site, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder, "pages"))
        gc.disable()  # documents are large and full of circles: a third of the time
        options = ["--fail-on-warning", "--quiet", "--jobs", "auto", "--conf-dir", here]
        status = build_main([*options, "-d", f"{folder}/doctrees", f"{folder}/pages", str(site)])
    for name in ("examples", "study"):  # files that pages link to, at the addresses that they have
        hidden = shutil.ignore_patterns("__pycache__", "conftest.py", "*.md")
        shutil.copytree(DOCS / name, site / name, ignore=hidden, dirs_exist_ok=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
