"""A page for each loss, metric and part of a detector, made of its card and its record."""

from __future__ import annotations

import functools
import html
import inspect
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from card_text import example, paragraphs, span, table
from curves import NotDrawnError, curves_of
from drawing import curve_svg, push_svg

from medloss.offers.bundle import bundle_block
from medloss.offers.cards import Card, argument_help, read_card
from medloss.offers.host import Offer, host
from medloss.offers.records import Kind
from medloss.testing.behaviour import behaviour

FOLDERS: dict[Kind, str] = {"loss": "losses", "metric": "metrics", "detection": "detection"}
FORMULAS = Path(__file__).parents[1] / "formulas.toml"
_SKIPPED = ("Args", "Example", "Returns", "Raises", "Formula", "Notes", "Source")


def offers() -> list[Offer[Any]]:
    """Everything with a card that this distribution offers."""
    return [
        offer
        for offer in host()
        if offer.plugin.distribution == "medloss" and offer.record.kind in FOLDERS
    ]


def path_of(offer: Offer[Any]) -> str:
    """Where its page lies, from the folder of the documentation."""
    return f"{FOLDERS[offer.record.kind]}/{offer.record.name}.md"


def page_of(offer: Offer[Any]) -> str:
    """The page in Markdown, with its pictures as HTML."""
    record, target, kind = offer.record, offer.load(), offer.record.kind
    card = read_card(target)
    parts = [f"# `{record.name}`", paragraphs(card.summary), _facts(offer)]
    parts += ["## Formula", _formula(offer, card), "## Picture", _pictures(offer)]
    parts += ["## Behaviour", *_sections(card, kind), _corners(offer, target)]
    options = _options(target, keyword_only=kind == "metric")
    if options:
        parts += ["## Options", options]
    parts += ["## In a bundle", f"```json\n{bundle_block(offer)}\n```"]
    if "Example" in card.sections:
        parts += ["## Example", example(inspect.getdoc(target) or "")]
    if "Source" in card.sections:
        parts += ["## Source", paragraphs(card.sections["Source"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def gallery(pages: Mapping[str, str]) -> str:
    """All losses by family, each with pictures of its page."""
    parts = [
        "# All losses at a glance",
        "What each loss is while a prediction leaves its target, and where one step of descent "
        "pushes the prediction: orange up, blue down, stronger colours for larger gradients. Solid "
        "outline: target; dashed: prediction. [How they are made](../choosing.md#the-pictures).",
    ]
    for family in dict.fromkeys(offer.record.family for offer in host().losses):
        parts.append(f"## {family.capitalize()}")
        cards = [
            _small_card(offer, pages[path_of(offer)])
            for offer in offers()
            if offer.record.kind == "loss" and offer.record.family == family
        ]
        parts.append(f'<div class="gallery">{"".join(cards)}</div>')
    return "\n\n".join(parts) + "\n"


def _small_card(offer: Offer[Any], page: str) -> str:
    """The gradient, which stands last on the page, above the first curve."""
    found = re.findall("<svg.*?</svg>", page)
    pictures = "".join([*found[2:], *found[:1]])
    name, summary = offer.record.name, html.escape(offer.record.summary)
    return (
        f'<a class="card" href="{name}.html"><code>{name}</code>'
        f"<span>{summary}</span>{pictures}</a>"
    )


def _facts(offer: Offer[Any]) -> str:
    record, kind = offer.record, offer.record.kind
    rows = [("family", record.family)]
    if kind == "loss":
        needs = ", ".join(f"``{each}``" for each in record.needs) or "input and target only"
        alone = "yes" if record.alone else "no: put a region or distribution loss beside it"
        rows += [("class", f"``medloss.losses.{record.attribute}``"), ("needs", needs)]
        graph = f"breaks: {record.breaks_graph}" if record.breaks_graph else "one graph"
        rows += [("trains alone", alone), ("under torch.compile", graph)]
    elif kind == "metric":
        rows += [("class in MONAI", f"``medloss.metrics.{record.class_name}``")]
        rows += [("unit", record.unit.replace("mm3", "mm³") or "none")]
        rows += [("better", record.better), ("made of", ", ".join(record.facts))]
    else:
        rows += [("class", f"``medloss.detection.{record.attribute}``")]
        rows += [("role", record.role.replace("_", " "))]
    return table(rows[0], rows[1:])


def _formula(offer: Offer[Any], card: Card) -> str:
    """The formula, typeset where docs/formulas.toml has it and as the card writes it, and notes."""
    typeset = _typeset().get(FOLDERS[offer.record.kind], {}).get(offer.record.name)
    parts = [f"$$\n{typeset.strip()}\n$$"] if typeset else []
    parts += [paragraphs(card.sections.get("Formula", "See the source."))]
    shown = "\n\n".join(parts)
    notes = paragraphs(card.sections.get("Notes", ""))
    return f"```{{container}} formula\n{shown}\n```\n\n{notes}"


@functools.cache
def _typeset() -> dict[str, Any]:
    """LaTeX by folder and name."""
    return tomllib.loads(FORMULAS.read_text(encoding="utf-8")) if FORMULAS.exists() else {}


def _pictures(offer: Offer[Any]) -> str:
    try:
        drawn = curves_of(offer)
    except NotDrawnError as reason:
        return paragraphs(f"No picture. {reason}")
    name = offer.record.name
    figures = [f"<figure>{curve_svg(curve, name)}</figure>" for curve in drawn.curves]
    if drawn.push is not None and drawn.scene is not None:
        caption = (
            f"One step of descent: orange pushes the prediction up, blue down (largest gradient by "
            f"a logit {abs(drawn.push).max():.2g}). Solid: target, dashed: prediction."
        )
        picture = push_svg(drawn.scene, drawn.push, name)
        figures.append(f'<figure class="wide">{picture}<figcaption>{caption}</figcaption></figure>')
    options = offer.record.example
    built = f" Built with ``{_call(options)}``." if options else ""
    return (
        f'<div class="pictures">{"".join(figures)}</div>\n\n'
        f"{paragraphs(drawn.caption + ' Vertical line: it is the target.' + built)}"
    )


def _call(options: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _sections(card: Card, kind: Kind) -> Iterable[str]:
    for title, text in card.sections.items():
        if title not in _SKIPPED:
            yield f"**{title}:** {span(text)}"
    if kind == "loss" and "Range" not in card.sections:
        yield "**Range:** not stated."


def _corners(offer: Offer[Any], target: Any) -> str:
    last = "status" if offer.record.kind == "metric" else "largest gradient"
    try:
        body = [*behaviour(offer.record, target)]
    except ValueError:  # a metric of probabilities: label maps alone do not give it
        return ""
    body = [row for row in body if row[1] != "not computed"]
    return table(("case", "value", last), body) if body else ""


def _options(target: Any, *, keyword_only: bool) -> str:
    meaning, rows = argument_help(target), []
    for parameter in inspect.signature(target).parameters.values():
        if keyword_only and parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        any_other = parameter.kind is parameter.VAR_KEYWORD
        required = parameter.default is parameter.empty and not any_other
        default = "required" if required else "" if any_other else f"``{parameter.default!r}``"
        rows.append((f"``{parameter.name}``", default, meaning.get(parameter.name, "")))
    return table(("option", "default", "meaning"), rows) if rows else ""
