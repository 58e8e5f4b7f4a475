"""How everything on a page is defined, in words, from the settings of a study."""

from __future__ import annotations

from typing import Any

from medloss.evaluation.outputs.folder import Folder
from medloss.offers.host import Catalogue, PluginError, host
from medloss.offers.records import Loss, Metric
from medloss.scoring.presets import PRESETS

_SURFACES = {
    "cells": "elements between voxels, each with the area of the marching-cubes surface there",
    "faces": "the faces of the voxels, each with its area",
    "voxels": "voxels that have a face neighbour outside the label, each counting one",
}


def definitions(folder: Folder) -> list[tuple[str, str]]:
    """Terms and what they mean here."""
    settings = folder.settings
    found = [("Preset", f"{folder.preset}. {_preset(folder.preset)}".strip())]
    meaning = str(settings["policies"]["meaning"])
    found.append(("Empty labels", meaning[:1].upper() + meaning[1:] + "."))
    entries = [(e, True) for e in settings["metrics"]] + [(e, False) for e in settings["losses"]]
    found += [(str(entry["metric"]), _measure(entry, metric)) for entry, metric in entries]
    regions = [label for label in folder.labels if label.members]
    if regions:
        told = ", ".join(f"{x.title}: labels {', '.join(map(str, x.members))}" for x in regions)
        found.append(("Regions", f"{told}."))
    elsewhere = ("left_out", "passed_over")  # on the same page
    inputs = {name: value for name, value in folder.inputs.items() if name not in elsewhere}
    if inputs:
        told = ", ".join(f"{name} = {value}" for name, value in inputs.items())
        found.append(("Inputs", f"Before scoring: {told}."))
    bootstrap = settings["bootstrap"]
    found.append(
        (
            "Intervals",
            f"{100 * float(bootstrap['level']):g}% bootstrap interval of the mean (bias-corrected "
            f"and accelerated, {bootstrap['resamples']} resamples of the cases, "
            f"seed {bootstrap['seed']}).",
        )
    )
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
    )


def _measure(entry: dict[str, Any], metric: bool) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in dict(entry["options"]).items())
    unit = f" In {entry['unit']}." if entry["unit"] else ""
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
