"""What people read: the one place where a name to type becomes the name that it is known by.

Metrics, labels in a sentence, and numbers with as many digits as a sentence needs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medloss.evaluation.records import Measure, ScoredLabel


@dataclass(frozen=True)
class ReadableName:
    """How a metric is called on a page.

    Args:
        title: what people call it; options in braces are part of the name.
        averages: whether a mean of it over labels says anything. It does not of numbers of objects
            and of volumes, which grow with the size of a structure.
    """

    title: str
    averages: bool = True


def _count(title: str) -> ReadableName:
    return ReadableName(title, averages=False)


NAMES = {
    **{
        name: ReadableName(title)
        for name, title in {
            "accuracy": "Accuracy",
            "auroc": "AUROC",
            "average_calibration_error": "ACE",
            "average_precision": "Average precision",
            "average_surface_distance": "ASD",
            "average_symmetric_surface_distance": "ASSD",
            "boundary_dice": "Boundary Dice, {width_mm} mm",
            "boundary_iou": "Boundary IoU, {width_mm} mm",
            "brier_score": "Brier score",
            "cl_dice": "clDice",
            "dice": "Dice",
            "expected_calibration_error": "ECE",
            "hausdorff": "Hausdorff distance",
            "hausdorff95": "HD95",
            "jaccard": "IoU",
            "lesion_dice": "Lesion Dice",
            "lesion_f1": "Lesion F1",
            "lesion_froc": "FROC",
            "lesion_hausdorff95": "Lesion HD95",
            "lesion_normalized_surface_dice": "Lesion NSD at {tolerance_mm} mm",
            "lesion_precision": "Lesion precision",
            "lesion_sensitivity": "Lesion sensitivity",
            "maximum_calibration_error": "MCE",
            "mcc": "MCC",
            "mean_average_surface_distance": "MASD",
            "negative_log_likelihood": "NLL",
            "normalized_surface_dice": "NSD at {tolerance_mm} mm",
            "panoptic_quality": "PQ",
            "part_panoptic_quality": "PartPQ",
            "per_component_average_symmetric_surface_distance": "CC-ASSD",
            "per_component_dice": "CC-Dice",
            "per_component_hausdorff95": "CC-HD95",
            "per_component_jaccard": "CC-IoU",
            "per_component_normalized_surface_dice": "CC-NSD at {tolerance_mm} mm",
            "precision": "Precision",
            "recognition_quality": "RQ",
            "relative_volume_error": "Relative volume error",
            "segmentation_quality": "SQ",
            "sensitivity": "Sensitivity",
            "specificity": "Specificity",
            "volume_similarity": "Volume similarity",
        }.items()
    },
    **{
        name: _count(title)
        for name, title in {
            "added_path_length": "Added path length",
            "betti_error": "Betti error",
            "component_match_error": "Component match error",
            "euler_error": "Euler error",
            "false_lesions": "False lesions",
            "false_negative_volume": "False negative volume",
            "false_positive_volume": "False positive volume",
            "found_lesions": "Found lesions",
            "missed_lesions": "Missed lesions",
            "volume_difference": "Volume difference",
        }.items()
    },
}
"""By the name in ``medloss list``; a metric of others is called by its own name."""

UNITS = {"mm3": "mm³"}
_UNSAID = re.compile(r"(?:,| at) \{\w+\} mm")
"""What a name says of an option whose value a table does not have."""

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def called(measure: Measure) -> str:
    """A metric as people call it, with the options that change what it is.

    Example:
        >>> called(Measure("hausdorff95", "mm", "lower"))
        'HD95'
        >>> options = {"tolerance_mm": 2.0}
        >>> called(Measure("normalized_surface_dice[tolerance_mm=2.0]", "", "higher", options))
        'NSD at 2 mm'
        >>> called(Measure("normalized_surface_dice", "", "higher"))
        'NSD'
        >>> called(Measure("lesion_f1[matching=iou]", "", "higher", {"matching": "iou"}))
        'Lesion F1 (matching = iou)'
        >>> called(Measure("their_metric", "", "higher"))
        'their_metric'
    """
    name, _, given = measure.name.partition("[")
    known = NAMES.get(name)
    if known is None:
        return measure.name
    title = known.title
    for option, value in measure.options.items():
        if f"{{{option}}}" in title:
            title = title.replace(f"{{{option}}}", plain(value))
        elif f"{option}=" in given:
            title += f" ({option} = {plain(value)})"
    return _UNSAID.sub("", title)


def headed(measure: Measure) -> str:
    """The same with its unit, as the head of a column.

    Example:
        >>> headed(Measure("hausdorff95", "mm", "lower"))
        'HD95 (mm)'
    """
    return f"{called(measure)} ({unit_of(measure)})" if measure.unit else called(measure)


def unit_of(measure: Measure) -> str:
    """The unit as it is written on a page."""
    return UNITS.get(measure.unit, measure.unit)


def has_mean(measure: Measure) -> bool:
    """Whether a mean over labels says anything; of a metric of others, if it is no volume."""
    known = NAMES.get(measure.name.partition("[")[0])
    return measure.unit != "mm3" and (known is None or known.averages)


def readable(label: ScoredLabel) -> str:
    """A label in a sentence.

    Example:
        >>> readable(ScoredLabel("1", "liver")), readable(ScoredLabel("7"))
        ('liver', 'label 7')
    """
    return label.name or (f"label {label.key}" if label.key.isdecimal() else label.key)


def briefly(value: float, unit: str = "", *, digits: int = 2, bare: bool = False) -> str:
    """A number for a sentence or a table: a few digits, and never 1 for what is below it.

    Args:
        value: NaN is a dash.
        unit: of it.
        digits: decimals of a number without a unit; lengths have one less, volumes two.
        bare: without the unit.

    Example:
        >>> briefly(0.8991), briefly(0.9996), briefly(1.0), briefly(3.3207, "mm")
        ('0.90', '0.9996', '1.00', '3.3 mm')
        >>> briefly(float("nan")), briefly(float("inf"), "mm"), briefly(23456.7, "mm3")
        ('–', '∞', '23457 mm³')
    """
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    digits = max(0, digits - {"": 0, "mm": 1}.get(unit, 2))
    text = f"{value:.{digits}f}"
    while not unit and abs(value) < 1 and abs(float(text)) == 1 and digits < 6:
        digits += 1
        text = f"{value:.{digits}f}"
    text = text.replace("-", MINUS)
    return text if bare or not unit else f"{text} {UNITS.get(unit, unit)}"


def plain(value: object) -> str:
    """The value of an option, or the ends of those that labels have of their own.

    Example:
        >>> plain(2.0), plain({"1": 1.0, "2": 3.0}), plain("iou")
        ('2', '1 to 3', 'iou')
    """
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f"{value:g}"
    if isinstance(value, Mapping):  # a value for each label
        texts = [plain(each) for each in sorted(value.values(), key=_order)]
        return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"
    return str(value)


def options_text(options: Mapping[str, Any]) -> str:
    """Options in a sentence, without those that have no value.

    Example:
        >>> options_text({"matching": "iou", "iou": 0.5, "max_reference_mm3": None})
        'matching = iou, iou = 0.5'
    """
    return ", ".join(f"{name} = {x}" for name, x in options.items() if x is not None)


def _order(value: object) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, float | int) else (0.0, str(value))
