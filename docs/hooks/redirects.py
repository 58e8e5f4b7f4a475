"""Addresses that the site had, and where those lead that moved."""

from __future__ import annotations

import json
from pathlib import Path


def redirects(docs: Path) -> dict[str, dict[str, str]]:
    """By page of old: where its anchors went, and under the empty anchor where the page went.

    docs/redirects.json has for each address the one that it has now.
    """
    found: dict[str, dict[str, str]] = {}
    for old, new in json.loads((docs / "redirects.json").read_text(encoding="utf-8")).items():
        page, _, anchor = old.partition("#")
        found.setdefault(page, {})[anchor] = new
    return found
