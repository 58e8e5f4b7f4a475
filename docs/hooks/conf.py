"""How Sphinx builds the site from what build_site.py lays out."""

from __future__ import annotations

import functools
import json
import posixpath
import re
import unicodedata
from pathlib import Path
from typing import Any

import dukpy
from docutils import nodes
from redirects import redirects
from sphinx.application import Sphinx
from sphinx.util import logging

DOCS = Path(__file__).parents[1]

project = "medloss"
project_copyright = "the medloss developers, Apache-2.0"
extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["dollarmath", "strikethrough"]
myst_heading_anchors = 4
myst_heading_slug_func = "conf.slug"
html_title = "medloss"
html_theme = "pydata_sphinx_theme"
html_static_path = [str(DOCS / "stylesheets"), str(DOCS / "katex")]
html_css_files = ["katex.min.css", "site.css"]
html_math_renderer = "katex"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = False
exclude_patterns = ["katex.min.js", "LICENSE"]
html_theme_options: dict[str, Any] = {
    "article_header_start": ["breadcrumbs"],
    "footer_end": [],
    "show_nav_level": 1,
    "navigation_depth": 3,
    "secondary_sidebar_items": ["page-toc"],
    "search_bar_text": "Search",
}
copybutton_prompt_text = ">>> |... |$ "
copybutton_prompt_is_regexp = True
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 80
smartquotes = False
suppress_warnings = ["ref.python"]  # a type in a signature whose bare name two modules have


def slug(title: str) -> str:
    """The anchor of a heading: ASCII letters, digits and underscores, words joined by hyphens.

    Example:
        >>> slug("Coming from MONAI: `to_onehot_y`, ×2")
        'coming-from-monai-to_onehot_y-2'
    """
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def setup(app: Sphinx) -> None:
    """Formulas by KaTeX, anchors by :func:`slug`, and pages in place of what moved."""
    app.add_html_math_renderer("katex", (_formula, None), (_formula, None))
    app.connect("doctree-read", _anchors, priority=0)
    app.connect("html-page-context", _moved_anchors)
    app.connect("build-finished", _moved_pages)


def _anchors(_: Sphinx, doctree: nodes.document) -> None:
    for section in doctree.findall(nodes.section):
        if section.get("slug") and section["slug"] not in section["ids"]:
            section["ids"].insert(0, section["slug"])


@functools.cache
def _katex() -> Any:
    interpreter = dukpy.JSInterpreter()
    interpreter.evaljs((DOCS / "katex/katex.min.js").read_text(encoding="utf-8") + ";0")
    return interpreter


def _formula(writer: Any, node: nodes.Element) -> None:
    """Typeset while the site is built, so that a page needs no script and an error is told."""
    options = {"displayMode": isinstance(node, nodes.math_block), "throwOnError": True}
    try:
        shown = _katex().evaljs(
            "katex.renderToString(dukpy.tex, dukpy.options)", tex=node.astext(), options=options
        )
    except dukpy.JSRuntimeError as error:
        shown = ""
        message = str(error).partition("\n")[0]
        logging.getLogger(__name__).warning("%s", message, location=node)
    writer.body.append(shown)
    raise nodes.SkipNode


def _moved_anchors(app: Sphinx, page: str, _: str, context: dict[str, Any], __: Any) -> None:
    moved = redirects(DOCS).get(f"{page}.html")
    if moved:
        context["metatags"] += _script(f"{page}.html", moved)


def _moved_pages(app: Sphinx, error: Exception | None) -> None:
    for page, moved in redirects(DOCS).items():
        path = Path(app.outdir, page)
        if error is None and not path.exists():
            if "" not in moved:
                raise ValueError(
                    f"redirects.json: {page} is no page, and nothing says where it went"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            there = posixpath.relpath(moved[""], posixpath.dirname(page) or ".")
            path.write_text(
                f'<!doctype html>\n<meta charset="utf-8">\n<title>Moved</title>\n'
                f'{_script(page, moved)}\n<meta http-equiv="refresh" content="1; url={there}">\n'
                f'<p>This page is now <a href="{there}">{there}</a>.</p>\n',
                encoding="utf-8",
            )


def _script(page: str, moved: dict[str, str]) -> str:
    """Leads to where an anchor of a page went, or the page itself."""
    folder = posixpath.dirname(page) or "."
    ways = {anchor: posixpath.relpath(to, folder) for anchor, to in moved.items()}
    return (
        f"<script>{{const moved = {json.dumps(ways)}, to = moved[location.hash.slice(1)] ?? "
        f'(moved[""] && moved[""] + location.hash); if (to) location.replace(to);}}</script>'
    )
