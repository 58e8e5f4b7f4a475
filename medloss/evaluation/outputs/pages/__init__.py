"""Pages that stand alone: one HTML file with its style, figures and script inside.

Python says where things lie, the templates draw them; every text passes jinja2's autoescape.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.evaluation.grouping import Grouping
from medloss.evaluation.outputs.averages import averages
from medloss.evaluation.outputs.formats import number, p_value
from medloss.evaluation.outputs.names import DASH, briefly, called, headed, options_text, unit_of
from medloss.evaluation.outputs.names import MINUS as MINUS
from medloss.evaluation.outputs.preparation import preparation, resampled
from medloss.evaluation.outputs.statistics import Bootstrap
from medloss.evaluation.outputs.statistics.means import interval_rules
from medloss.evaluation.profiles.telling import profile_sentences
from medloss.evaluation.records import Measure, ResultTable
from medloss.offers.host import Catalogue, PluginError, host
from medloss.offers.records import Loss, Metric
from medloss.runtime.files import write_text
from medloss.runtime.visible import visible
from medloss.scoring.presets import PRESETS

_SURFACES = {
    "cells": "elements between voxels, each with the area of the marching-cubes surface there",
    "faces": "the faces of the voxels, each with its area",
    "voxels": "voxels that have a face neighbour outside the label, each counting one",
    "outlines": "voxels that have any neighbour outside the label, across edges and corners too, "
    "each counting one",
}


@dataclass(frozen=True)
class PageScript:
    """What a page runs, and the hash by which its policy lets nothing else run."""

    text: Any
    hash: str


def render(template: str, context: dict[str, Any], *, scripts: Sequence[str] = ()) -> str:
    """The page of a template; what the context holds is text, never markup.

    Args:
        template: file name.
        context: what it shows.
        scripts: that it runs beside the one of the tables.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("medloss.evaluation.outputs.pages")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(value=value, px=pixels, share=share, p=_p)
    environment.filters.update(called=called, headed=headed, brief=briefly, unit=unit_of)
    environment.filters.update(short=short)
    sources = (loader.get_source(environment, name)[0] for name in ("tables.js", *scripts))
    script = "\n".join(["", *sources])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    # Our own files, which the policy of the page names by their hash.
    made = PageScript(Markup(script), f"sha256-{digest}")
    environment.globals.update(between=between, script=made)
    return environment.get_template(template).render(context)


def write_page(path: Path, text: str) -> Path:
    """Write a page, which appears under its name only when it is complete."""
    # A file name may hold bytes that are no text; they are shown as a replacement sign.
    write_text(path, visible(text.encode("utf-8", "replace").decode("utf-8")))
    return path


def value(found: float, unit: str = "") -> str:
    """A number to read, with a real minus; a dash where there is none.

    Example:
        >>> value(0.98765), value(-2.5, "mm"), value(float("nan")), value(float("inf"), "mm")
        ('0.9877', '−2.500', '–', '∞')
    """
    if math.isnan(found):
        return DASH
    if math.isinf(found):
        return "∞" if found > 0 else f"{MINUS}∞"
    return number(found, unit).replace("-", MINUS)


def short(found: float, measure: Measure, digits: int = 3) -> str:
    """A value of a metric for a table whose head has the unit.

    Example:
        >>> short(0.98765, Measure("dice", "", "higher")), short(2.5, Measure("hd", "mm", "lower"))
        ('0.988', '2.50')
    """
    return briefly(found, measure.unit, digits=digits, bare=True)


def between(low: float, high: float, unit: str = "") -> str:
    """Two ends; one dash where there are none.

    Example:
        >>> between(0.25, 0.5), between(float("nan"), float("nan"))
        ('0.2500 to 0.5000', '–')
    """
    if math.isnan(low) and math.isnan(high):
        return DASH
    return f"{value(low, unit)} to {value(high, unit)}"


def _p(found: float) -> str:
    return DASH if math.isnan(found) else p_value(found)


def share(found: float) -> str:
    """A share in percent.

    Example:
        >>> share(0.123), share(0.999)
        ('12%', '100%')
    """
    return DASH if math.isnan(found) else f"{100 * found:.0f}%"


def pixels(found: float) -> str:
    """A place in a figure, as short as it can be said.

    Example:
        >>> pixels(12.0), pixels(3.14159)
        ('12', '3.1')
    """
    return f"{found:.1f}".removesuffix(".0")


# How everything on a page is defined, in words


def definitions(table: ResultTable, *, intervals: bool = True) -> list[tuple[str, str]]:
    """Terms and what they mean here; on request without the intervals of the summary."""
    settings = table.settings
    found = [("Profile", f"{sentence}.") for sentence in profile_sentences(table.profile)]
    found.append(("Preset", f"{table.preset}. {_preset(table.preset)}".strip()))
    found.append(("Empty labels", table.policy[:1].upper() + table.policy[1:] + "."))
    found += _means(table)
    entries = [(e, True) for e in settings["metrics"]] + [(e, False) for e in settings["losses"]]
    found += [
        (_term(measure), _measure(entry, metric))
        for measure, (entry, metric) in zip(table.measures, entries, strict=True)
    ]
    regions = [label for label in table.labels if label.members]
    if regions:
        told = ", ".join(f"{x.title}: labels {', '.join(map(str, x.members))}" for x in regions)
        found.append(("Regions", f"{told}."))
    if done := [*preparation(table.inputs), *resampled(table.cases)]:
        found.append(("Inputs", " ".join(f"{said}." for said in done)))
    if intervals:
        grouping = Grouping.of_record(settings)
        noun = grouping.noun if grouping.cluster else ""
        rules = interval_rules(Bootstrap(**settings["bootstrap"]), noun=noun)
        told = (
            f"95% intervals of the mean: {rules}; they end where the range of the metric does. "
            f"They are not adjusted for their number."
        )
        found.append(("Intervals", told))
    found.append(
        (
            "Statuses",
            "ok: in both maps. missed: in the reference only. spurious: in the prediction only. "
            "both_empty: in neither. failed: the case could not be read or compared, and has no "
            "values. A value that a policy excludes, or that is undefined, is shown as a dash and "
            "counted under not used.",
        )
    )
    return found


def _term(measure: Measure) -> str:
    title = called(measure)
    return title if title == measure.name else f"{title} ({measure.name})"


def _means(table: ResultTable) -> Iterator[tuple[str, str]]:
    """Averages over labels by their names, each with its values in one sentence."""
    for name, group in itertools.groupby(averages(table), key=lambda each: each.name):
        found = list(group)
        values = (f"{x.measure.title} {value(x.value, x.measure.unit)}" for x in found)
        labels = ", ".join(label.title for label in found[0].labels)
        text = f"{', '.join(values)}; {found[0].rule}, over {labels}."
        yield f"{name[:1].upper()}{name[1:]}", text


def _preset(name: str) -> str:
    preset = PRESETS.get(name)
    if preset is None:
        return ""
    percentile = "of both surfaces pooled" if preset.pools else "the larger of the two directed"
    rule = (
        "interpolated between two distances"
        if preset.interpolates
        else "the smallest distance within which that share of the surface lies"
    )
    return (
        f"Surfaces are {_SURFACES[preset.surface]}; the edge of the image counts as surface. "
        f"A percentile distance is {percentile}, {rule}. Follows {preset.source}."
        f"{preset.precision and ' '}{preset.precision}"
    )


def _measure(entry: dict[str, Any], metric: bool) -> str:
    options = options_text(entry["options"])
    unit = f" In {entry['unit']}." if entry["unit"] else ""
    if entry.get("spurious") == "exclude":
        unit += " Left out where only the prediction has the label."
    return (
        f"{_summary(str(entry['name']), metric)} {str(entry['better']).capitalize()} is better."
        f"{unit}{f' Options: {options}.' if options else ''}"
    ).strip()


def _summary(name: str, metric: bool) -> str:
    """What the metric says of itself; nothing where its plugin is not here."""
    try:
        catalogue: Catalogue[Any] = host().metrics if metric else host().losses
        record: Metric | Loss = catalogue.find(name).record
    except PluginError:
        return ""
    return record.summary
