"""What mkdocs calls while it builds the site: adds the generated pages, and links that lead out.

Pages that a reader of the repository sees as files stay as they are; what only the site can have is
made here: a page for everything on offer, the API reference, and pages of files outside of docs/.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import api_pages
import offer_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?\)")
_FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\|.*$", re.MULTILINE)

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


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the generated parts of the navigation, and add pages that it forgets."""
    config.nav = _filled(config.nav)
    named = str(config.nav)
    others = [page.name for page in sorted((ROOT / "docs").glob("*.md"))]
    more = [page for page in others if f"'{page}'" not in named]
    if more:
        config.nav.append({"More": more})
    return config


def _filled(nav: Any) -> Any:
    """Each entry of the form ``"<losses>"`` becomes the pages of that kind."""
    if isinstance(nav, str):
        there = (ROOT / "docs" / nav).exists() or nav in INCLUDED.values() or nav in _generated()
        return nav if there or "://" in nav else None
    if isinstance(nav, dict):
        ((title, value),) = nav.items()
        kind = re.fullmatch(r"<(\w+)>", value) if isinstance(value, str) else None
        value = _listed(kind[1]) if kind else _filled(value)
        return {title: value} if value else None
    return [each for each in map(_filled, nav) if each]


def _generated() -> dict[str, Callable[[], str]]:
    """The pages that are made here, and what makes them."""
    offers = {offer_pages.path_of(each): each for each in offer_pages.offers()}
    modules = {api_pages.path_of(module): module for module in _modules()}
    return {
        "losses/gallery.md": offer_pages.gallery,
        "api/index.md": api_pages.index,
        **{path: partial(offer_pages.page_of, offer) for path, offer in offers.items()},
        **{path: partial(api_pages.page_of, module) for path, module in modules.items()},
    }


def _modules() -> list[str]:
    return [module for modules in api_pages.MODULES.values() for module in modules]


def _listed(kind: str) -> list[Any]:
    """Pages of a kind for the navigation, by family or group."""
    if kind == "bundles":
        return [path for path in INCLUDED.values() if path.startswith("bundles/")]
    if kind == "api":
        return [
            {group: [{name: api_pages.path_of(name)} for name in modules]}
            for group, modules in api_pages.MODULES.items()
        ]
    grouped: dict[str, list[Any]] = {}
    for offer in offer_pages.offers():
        path = offer_pages.path_of(offer)
        if path.startswith(f"{kind}/"):
            grouped.setdefault(offer.record.family, []).append({offer.record.name: path})
    return [{family: pages} for family, pages in grouped.items()]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and those from outside of docs/."""
    for path, make in _generated().items():
        files.append(File.generated(config, path, content=make()))
    for source, path in INCLUDED.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=_moved(text, source, path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of docs/ lead to pages of the site; names in tables lead to their pages."""
    path = page.file.src_uri
    if page.file.generated_by:
        return markdown
    markdown = _moved(markdown, f"docs/{path}", path)
    if path in _NAMES_LEAD_TO:
        markdown = _ROW.sub(lambda row: _linked_names(row[0], path), markdown)
    return markdown


def _linked_names(row: str, path: str) -> str:
    """A row of a table whose names lead to their pages."""
    known = _generated()

    def link(name: re.Match[str]) -> str:
        targets = (f"{folder}/{name[1]}.md" for folder in _NAMES_LEAD_TO[path])
        target = next((each for each in targets if each in known), None)
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
    if leads_to.startswith("docs/"):
        leads_to = leads_to.removeprefix("docs/")
    elif leads_to in INCLUDED:
        leads_to = INCLUDED[leads_to]
    else:  # a file of the repository that is no page: its name says enough
        return f"{head[1:-2]} (`{leads_to}`)" if (ROOT / leads_to).exists() else link[0]
    return f"{head}{posixpath.relpath(leads_to, posixpath.dirname(path) or '.')}{anchor})"
