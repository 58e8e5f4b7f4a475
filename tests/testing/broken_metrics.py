"""One metric for each check of the contract, broken so that this check fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from testing.good_metrics import good_metric

from medloss.scoring import Counts, SurfaceDistances

asked: list[Counts] = []


def carded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function the card of the good metric."""
    function.__doc__ = str(good_metric.__doc__)
    return function


@carded
def no_section(counts: Counts, *, power: float = 1.0) -> float:
    return good_metric(counts, power=power)


no_section.__doc__ = str(good_metric.__doc__).replace("Empty:", "Empty")


@carded
def no_word(counts: Counts, *, silent: float = 1.0) -> float:
    return good_metric(counts)


@carded
def wrong_example(counts: Counts, *, power: float = 1.0) -> float:
    return good_metric(counts, power=power)


wrong_example.__doc__ = str(good_metric.__doc__).replace("0.5", "0.4")


@carded
def remembering(counts: Counts) -> float:
    asked.append(counts)
    return good_metric(counts) - 0.001 * (len(asked) > 1 and asked[-1] in asked[:-1])


@carded
def no_number(counts: Counts) -> Any:
    return [good_metric(counts)]


@carded
def shadowed(counts: Counts, **power: Any) -> float:
    return good_metric(counts) ** (2 if power else 1)


@carded
def too_large(counts: Counts) -> float:
    return 2 * good_metric(counts)


@carded
def volume_similarity(counts: Counts) -> float:
    total = counts.reference + counts.prediction
    return 1 - abs(counts.reference - counts.prediction) / total if total else math.nan


@carded
def order_of_elements(counts: SurfaceDistances) -> float:
    area = counts.prediction_area
    if not len(area) or math.isinf(counts.prediction_mm[0]):
        return math.nan
    third = float(area[: len(area) // 3].sum() / area.sum())  # cuts through equal distances
    return 1.0 if counts.prediction_mm[-1] == 0 else third


@carded
def optimistic(counts: Counts) -> float:
    return good_metric(counts) if counts.tp + counts.fp + counts.fn else 1.0


@carded
def forgiving(counts: Counts) -> float:
    return 1.0 if counts.reference and not counts.prediction else good_metric(counts)


@carded
def finite_distance(counts: SurfaceDistances) -> float:
    mm = counts.prediction_mm
    return min(float(mm[-1]), 100.0) if len(mm) else 100.0 if len(counts.reference_mm) else math.nan


@carded
def squared(counts: SurfaceDistances) -> float:
    return max((*counts.prediction_mm, *counts.reference_mm), default=math.nan) ** 2


@carded
def dividing(counts: Counts) -> float:
    return good_metric(counts) + 0 * counts.tn / (counts.tn + counts.fp)


MM = {"facts": ("surfaces",), "unit": "mm", "better": "lower"}

ALSO = {
    "remembering": {"monai_form_agrees"},
    "too_large": {"full_images_are_no_error"},
    "order_of_elements": {"symmetries_change_nothing", "crossed_forms_are_one_case"},
    "shadowed": {"monai_form_agrees", "any_affine_is_one_spacing"},
}
"""Checks that a function fails beside the one it is made for."""

BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("summary_equals_docstring", "good_metric", {"summary": "Something else."}),
    ("card_is_complete", "no_section", {}),
    ("card_is_complete", "no_word", {}),
    ("card_example_is_true", "wrong_example", {}),
    ("config_example_builds", "good_metric", {"example": {"power": Fraction(1)}}),
    ("exemptions_are_reasoned", "good_metric", {"exempt": {"monai_form_agrees": "it cannot"}}),
    ("listing_stays_light", "good_metric", {"module": "medloss.base"}),
    ("pure_function_of_facts", "remembering", {}),
    ("pure_function_of_facts", "no_number", {}),
    ("scoring_imports_no_torch", "heavy_metric", {"target": "testing.heavy:heavy_metric"}),
    ("monai_form_agrees", "shadowed", {"example": {"missed": "inf"}}),
    ("perfect_is_best", "too_large", {}),
    ("worse_when_moved", "volume_similarity", {}),
    ("symmetries_change_nothing", "order_of_elements", {"facts": ("surfaces",)}),
    ("in_neither_map_is_undefined", "optimistic", {}),
    ("missed_and_spurious_are_not_perfect", "forgiving", {}),
    ("missed_and_spurious_are_not_perfect", "finite_distance", MM),
    ("spacing_scales_as_the_unit_says", "squared", MM),
    ("full_images_are_no_error", "dividing", {}),
    ("crossed_forms_are_one_case", "order_of_elements", {"facts": ("surfaces",)}),
    ("any_affine_is_one_spacing", "shadowed", {"example": {"missed": "inf"}}),
]
"""The check that must fail, the function, and what differs in its record."""
