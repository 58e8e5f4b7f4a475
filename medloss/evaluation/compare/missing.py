"""What a run counts where it has no number.

Failures are the hard cases, so that leaving them out favours whoever fails. A case that failed in
one run, or a label that it misses while a policy excludes such values, has the worst value there
is: the end of the metric's range, for a distance what the policy gives a missed label, else the
last rank (infinitely bad). Where no run has a number nothing is known, and where a policy left out
a label that is rightly absent nothing is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.outputs.statistics import Floats
from medloss.evaluation.outputs.statistics.means import value_range
from medloss.evaluation.records import CaseResult, Measure, Result


@dataclass(frozen=True)
class WorstValue:
    """The worst value of a metric.

    Args:
        value: the same in every case, or NaN where it is the diagonal of the image.
        words: what it is, in words.
    """

    value: float
    words: str


def worst_value(measure: Measure, missed: object) -> WorstValue:
    """What a failure counts.

    Args:
        measure: metric or loss.
        missed: the policy for distances of missed labels.

    Example:
        >>> worst_value(Measure("dice", "", "higher"), "diagonal")
        WorstValue(value=0.0, words='0')
        >>> worst_value(Measure("hausdorff95", "mm", "lower"), "diagonal").words
        'the diagonal of the image, or the longest value'
    """
    sign = 1.0 if measure.better == "lower" else -1.0
    last = WorstValue(sign * math.inf, "the last rank")
    if measure.unit == "mm":
        if isinstance(missed, int | float):
            return WorstValue(float(missed), f"{missed:g} mm")
        if missed == "inf":
            return last
        return WorstValue(math.nan, "the diagonal of the image, or the longest value")
    ends = value_range(measure.name)
    end = None if ends is None else ends[0] if measure.better == "higher" else ends[1]
    return last if end is None else WorstValue(end, f"{end:g}")


def diagonals(tables: Sequence[Sequence[CaseResult]]) -> dict[str, float]:
    """Of the images in mm, by case, from whichever run has read them."""
    return {
        case.name: math.hypot(*(n * mm for n, mm in zip(case.shape, case.spacing_mm, strict=True)))
        for cases in tables
        for case in cases
        if not case.error and case.spacing_mm
    }


def fill(
    values: tuple[Sequence[Result | None], Sequence[Result | None]],
    worst: WorstValue,
    names: Sequence[str],
    diagonal: Mapping[str, float],
) -> tuple[Floats, Floats, tuple[int, int]]:
    """The numbers of two runs with the worst value where one has none and should have.

    Args:
        values: of each run, case by case; ``None`` where the case failed.
        worst: of the metric.
        names: of the cases.
        diagonal: of their images.

    Returns:
        Both, and in how many cases each was given the worst value.
    """
    numbers = tuple(
        np.array([value.value if value else math.nan for value in own], dtype=np.float64)
        for own in values
    )
    known = np.concatenate(numbers)
    observed = float(known[np.isfinite(known)].max(initial=0.0))
    counts = [0, 0]
    for place, name in enumerate(names):
        for side in (0, 1):
            mine, other = values[side][place], values[1 - side][place]
            lacks = mine is None or (not mine.used and mine.status in ("missed", "spurious"))
            if lacks and other is not None and other.used:
                end = worst.value
                if math.isnan(end):  # a length of outlines may be longer than any distance
                    end = max(diagonal.get(name, math.inf), observed)
                numbers[side][place] = end
                counts[side] += 1
    return numbers[0], numbers[1], (counts[0], counts[1])
