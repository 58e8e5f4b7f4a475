"""Addresses that the site had, and where those lead that moved."""

from __future__ import annotations

from pathlib import Path


def entries(path: Path) -> list[str]:
    """The lines of a file but for remarks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def redirects(docs: Path) -> dict[str, dict[str, str]]:
    """By page of old: where its anchors went, and under the empty anchor where the page went."""
    found: dict[str, dict[str, str]] = {}
    for line in entries(docs / "redirects.txt"):
        old, new = line.split()
        page, _, anchor = old.partition("#")
        found.setdefault(page, {})[anchor] = new
    return found
