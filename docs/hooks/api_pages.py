"""The API reference: a page for each public module, made of signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ForwardRef

from card_text import example, inline, paragraphs, span, table

from medloss.offers.cards import argument_help, read_card

MODULES = {
    "Losses and metrics": (
        "medloss",
        "medloss.losses",
        "medloss.metrics",
        "medloss.compound",
    ),
    "Mathematics": ("medloss.sums", "medloss.distance", "medloss.scoring"),
    "Training": (
        "medloss.integrations.transforms",
        "medloss.integrations.skeletons",
        "medloss.integrations.handlers",
        "medloss.integrations.loss_callback",
        "medloss.integrations.lightning",
        "medloss.integrations.keras",
        "medloss.integrations.nnunet",
        "medloss.workbench.preflight",
    ),
    "Choosing": (
        "medloss.workbench.suggest.cases",
        "medloss.workbench.suggest.facts",
        "medloss.workbench.suggest.advice",
    ),
    "Plugins": (
        "medloss.offers.records",
        "medloss.offers.host",
        "medloss.base",
        "medloss.readers",
        "medloss.testing",
    ),
}
"""What the reference covers; everything else may change without notice."""

_TABLE = re.compile(r"^=+ [= ]+\n.*\n=+ [= ]+\n(?:.*\n)*?=+ [= ]+$", re.MULTILINE)
_ELSEWHERE = ("Args", "Example", "Notes", "Returns", "Raises", "Yields")


def path_of(module: str) -> str:
    """Where the page of a module lies."""
    return f"api/{module}.md"


def index() -> str:
    """The list of modules."""
    parts = [
        "# API reference",
        "Signatures and docstrings of the public modules. Losses, metrics and parts of detectors "
        "have pages of their own; every name there is an attribute of `medloss.losses`, "
        "`medloss.metrics` or `medloss.detection`.",
    ]
    for title, modules in MODULES.items():
        parts.append(f"## {title}")
        rows = [f"* [`{name}`]({name}.md): {_summary(name)}" for name in modules]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def page_of(module: str) -> str:
    """The page of a module."""
    found = _import(module)
    parts = [f"# `{module}`", _text(found)]
    for name, member in public(module):
        parts.append(_object(f"{module}.{name}", name, member))
    return "\n\n".join(part for part in parts if part) + "\n"


def public(module: str) -> Iterator[tuple[str, Any]]:
    """What a module offers: what it lists, or what it defines without an underscore."""
    found = _import(module)
    listed = getattr(found, "__all__", None)
    names = [name for name in vars(found) if not name.startswith("_")] if listed is None else listed
    for name in names:
        member = getattr(found, name)
        own = listed is not None or getattr(member, "__module__", "") == module
        if own and (inspect.isclass(member) or inspect.isroutine(member)):
            yield name, member


def _import(module: str) -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is imported
    return importlib.import_module(module)


def _summary(module: str) -> str:
    return inline((inspect.getdoc(_import(module)) or "").partition("\n")[0])


def _object(path: str, name: str, member: Any) -> str:
    if not inspect.isclass(member):
        return _described("function", f"{path}{signature(member)}", [_text(member)])
    parts = [_text(member)]
    for method, function in _methods(member):
        routine = inspect.isroutine(function)
        shown = f"{method}{signature(function)}" if routine else method
        parts.append(_described("method" if routine else "property", shown, [_text(function)]))
    return _described("class", f"{path}{signature(member)}", parts)


def _described(kind: str, shown: str, parts: list[str]) -> str:
    """An entry that Sphinx indexes; its fence is longer than those inside."""
    fence = "`" * (6 if kind in ("class", "function") else 5)
    return "\n\n".join([f"{fence}{{py:{kind}}} {shown}", *filter(None, parts), fence])


def _methods(member: type) -> Iterator[tuple[str, Any]]:
    for name, each in vars(member).items():
        plain = each.__func__ if isinstance(each, classmethod | staticmethod) else each
        if name.startswith("_") or not inspect.getdoc(plain):
            continue
        if inspect.isroutine(plain) or isinstance(plain, property):
            yield name, plain


def signature(member: Any) -> str:
    """Arguments with annotations and defaults."""
    try:
        found = inspect.signature(member)
    except (TypeError, ValueError):
        return "(...)"
    parts = [_argument(each) for each in found.parameters.values() if each.name != "self"]
    kinds = [each.kind for each in found.parameters.values() if each.name != "self"]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = found.return_annotation
    after = "" if returned is found.empty or inspect.isclass(member) else f" -> {_type(returned)}"
    return f"({', '.join(parts)}){after}"


def _argument(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = stars + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        default = parameter.default
        shown = f"{default.__module__}.{default.__qualname__}" if callable(default) else None
        text += f" = {shown or repr(default)}"
    return text


def _type(annotation: Any) -> str:
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _text(member: Any) -> str:
    """A docstring: what it says, arguments, results, errors, example."""
    docstring = inspect.getdoc(member) or ""
    ruled = _TABLE.search(docstring)
    card = read_card(SimpleNamespace(__doc__=_TABLE.sub("", docstring)))
    parts = [paragraphs(card.summary), paragraphs(card.sections.get("Notes", ""))]
    if ruled:
        parts.append(_table(ruled[0]))
    for title, text in card.sections.items():
        if title not in _ELSEWHERE:
            parts.append(f"**{title}:** {span(text)}")
    help_of = {} if isinstance(member, property) or inspect.ismodule(member) else _help(member)
    if help_of:
        parts.append(table(("argument", "meaning"), [(f"``{n}``", t) for n, t in help_of.items()]))
    for title in ("Returns", "Yields", "Raises"):
        if title in card.sections:
            parts.append(f"**{title}:** {span(card.sections[title])}")
    parts.append(example(docstring))
    return "\n\n".join(part for part in parts if part)


def _table(text: str) -> str:
    """A table between rows of ``=``, whose columns begin where those do."""
    rule, head, _, *rows, _ = text.strip().splitlines()
    starts = [found.start() for found in re.finditer("=+", rule)]
    ends = [*starts[1:], None]

    def cells(line: str) -> list[str]:
        return [line[a:b].strip() for a, b in zip(starts, ends, strict=True)]

    return table(cells(head), [cells(row) for row in rows])


def _help(member: Any) -> dict[str, str]:
    """Meanings of those arguments that the signature has."""
    try:
        names = inspect.signature(member).parameters
    except (TypeError, ValueError):
        return {}
    return {name: text for name, text in argument_help(member).items() if name in names}
