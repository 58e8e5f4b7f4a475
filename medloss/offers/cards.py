"""Reads the card of a loss or metric from its docstring, where it stands once."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass
from typing import Any

_TITLE = re.compile(r"([A-Z][A-Za-z ]*):(?: (.*))?")
_ARGUMENT = re.compile(r"(\w+)(?: \([^)]*\))?: (.*)")


@dataclass(frozen=True)
class Card:
    """The first line of a docstring and its titled sections; untitled paragraphs are ``Notes``."""

    summary: str
    sections: dict[str, str]


def read_card(target: Any) -> Card:
    """Split the docstring of a class or function into a card.

    Example:
        >>> def area(r):
        ...     '''Area of a circle.
        ...
        ...     Range: [0, inf).
        ...
        ...     Formula:
        ...         A = π r²
        ...     '''
        >>> read_card(area).sections
        {'Range': '[0, inf).', 'Formula': 'A = π r²'}
    """
    lines = (inspect.getdoc(target) or "").splitlines()
    summary, sections, title = (lines[0] if lines else ""), {}, "Notes"
    fresh = True
    for line in lines[1:]:
        match = _TITLE.fullmatch(line)
        if match:
            title, fresh = match[1], False
            sections[title] = [match[2]] if match[2] else []
        elif not line.strip():
            fresh = True
            sections.setdefault(title, []).append("")
        else:
            if fresh and not line.startswith(" "):
                title = "Notes"
            fresh = False
            sections.setdefault(title, []).append(line)
    texts = {name: _text(body) for name, body in sections.items()}
    return Card(summary, {name: text for name, text in texts.items() if text})


def argument_help(target: Any) -> dict[str, str]:
    """What each option means, from the ``Args`` of the class and of its bases."""
    found: dict[str, str] = {}
    for each in reversed(inspect.getmro(target)) if inspect.isclass(target) else [target]:
        if not each.__doc__ or each is object or "Args:" not in each.__doc__:
            continue
        name = ""
        for line in read_card(each).sections.get("Args", "").splitlines():
            match = None if line.startswith(" ") else _ARGUMENT.fullmatch(line)
            if match:
                name = match[1]
                found[name] = match[2]
            elif name:
                found[name] += " " + line.strip()
    return {name: text.replace("``", "") for name, text in found.items()}


def _text(lines: list[str]) -> str:
    """The paragraphs of a section, without the line breaks of the source."""
    head = [line for line in lines if line and not line.startswith(" ")]
    body = textwrap.dedent("\n".join(line for line in lines if line.startswith(" ") or not line))
    joined: list[str] = []
    for line in [*head, *body.splitlines()]:
        flows_on = joined and joined[-1] and joined[-1][-1] not in ".;:" and line
        if flows_on and not _ARGUMENT.fullmatch(line):
            joined[-1] += f" {line.strip()}"
        elif line or (joined and joined[-1]):
            joined.append(line)
    return "\n".join(joined).strip()
