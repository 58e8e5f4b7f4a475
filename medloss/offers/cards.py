"""Reads the card of a loss or metric from its docstring, where it stands once."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from importlib.machinery import ModuleSpec
from typing import Any

_TITLE = re.compile(r"([A-Z][A-Za-z ]*):(?: (.*))?")
_USUAL_HEAD = re.compile(  # of a class or function, up to the text of its docstring
    r"""\n(?:class|def) (\w+)(?:[^"'#:\n]|"[^"\n]+"|\n(?=[ )])|:(?! *[#\n]))*"""
    r""":(?:  #.*)?\n +["]{3}(?=[^"])"""
)
_SOURCES = re.compile(r"\n( *)Source:(.*(?:\n(?:\1 +\S.*| *))*)")
_SOURCE = re.compile(r"(?:arXiv|doi):[^\s;,]+")
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


def written_docstring(target: str) -> str:
    """The docstring of ``"module:attribute"`` as its source has it; nothing is imported.

    Only where no such source is at hand (compiled modules, docstrings that are put together,
    attributes that come from elsewhere) the target is imported.

    Returns:
        The docstring, or nothing where the target has none of its own.

    Raises:
        Exception: importing the target may raise anything.

    Example:
        >>> written_docstring("statistics:fmean").splitlines()[0]
        'Convert data to floats and compute the arithmetic mean.'
    """
    module, _, attribute = target.partition(":")
    if found := _docstring_in(_source(module), attribute):
        return found
    loaded = getattr(importlib.import_module(module), attribute)
    own = vars(loaded).get("__doc__") if inspect.isclass(loaded) else loaded.__doc__
    if not isinstance(own, str):
        return ""
    made_up = is_dataclass(loaded) and own.startswith(f"{attribute}(")
    return "" if made_up else own


def first_line_and_sources(docstring: str) -> tuple[str, tuple[str, ...]]:
    r"""What a docstring says in a line, and the articles that its section ``Source`` names.

    Example:
        >>> first_line_and_sources("Soft Dice.\n\nSource:\n    Milletari, arXiv:1606.04797.")
        ('Soft Dice.', ('arXiv:1606.04797',))
    """
    section = _SOURCES.search(docstring)
    sources = dict.fromkeys(_sources(section[2])) if section else ()
    return docstring.strip().partition("\n")[0].rstrip(), tuple(sources)


def _sources(text: str) -> Iterator[str]:
    for found in _SOURCE.findall(text):
        source: str = found.rstrip(".:")
        while source.endswith(")") and source.count(")") > source.count("("):
            source = source[:-1].rstrip(".:")
        yield source


def _docstring_in(source: str, attribute: str) -> str:
    """The docstring of a class or function of a module; nothing where there is none to be seen."""
    start = max(source.find(f"\nclass {attribute}"), source.find(f"\ndef {attribute}"))
    head = _USUAL_HEAD.match(source, start) if start >= 0 else None
    if head and head[1] == attribute:  # found thirty times as fast as by parsing
        end = source.find('"""', head.end())
        found, rest = source[head.end() : end], source[end + 3 : source.find("\n", end)]
        if "\\" not in found and not rest.strip():
            return found
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return ""
    for each in statements:
        if isinstance(each, (ast.ClassDef, ast.FunctionDef)) and each.name == attribute:
            return ast.get_docstring(each, clean=False) or ""
    return ""


@functools.lru_cache(maxsize=16)
def _source(module: str) -> str:
    """The source of a module after a line break; no package is imported to find it."""
    spec = _spec(module)
    read = getattr(spec and spec.loader, "get_source", None)
    try:
        return "\n" + (read(module) or "") if read else ""
    except (ImportError, OSError):
        return ""


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is, found without importing the packages around it."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__spec__", None)
    path = _path(module.rpartition(".")[0])
    for finder in sys.meta_path if path is None or path else ():
        find = getattr(finder, "find_spec", None)
        try:
            if find and (found := find(module, path)):
                spec: ModuleSpec = found
                return spec
        except KeyError:  # a namespace asks the package around it, which is not imported
            return None
    return None


def _path(package: str) -> list[str] | None:
    """Where the modules of a package are; None for no package, that is for all of Python's path."""
    if not package:
        return None
    if package in sys.modules:
        return [*getattr(sys.modules[package], "__path__", ())]
    spec = _spec(package)
    if spec is None:
        around, _, name = package.rpartition(".")
        return [os.path.join(each, name) for each in _path(around) or ()]
    return [*(spec.submodule_search_locations or ())]


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
