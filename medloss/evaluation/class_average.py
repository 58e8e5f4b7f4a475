"""One value of a whole case, or of all cases, where a challenge has one beside those of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from medloss.evaluation.records import Result
from medloss.scoring.presets import Status

_PRESENT = {str(Status.OK), str(Status.MISSED), str(Status.SPURIOUS)}


def over_present_labels(results: Iterable[Result]) -> dict[str, float]:
    """Mean of each metric over the labels of a case that its reference or its prediction has.

    A label that is predicted without being there, a missed one too, counts like any other, so that
    the number of labels is that of the union. Labels in neither map do not count, whatever value a
    policy gives them; NaN does not either, and is the mean of nothing.

    Args:
        results: of one case, for the labels that the average is of.

    Returns:
        By column.

    Example:
        >>> over_present_labels([
        ...     Result(1, "dice", 0.75, "", "ok"),
        ...     Result(6, "dice", 0.0, "", "spurious"),
        ...     Result(7, "dice", 1.0, "", "both_empty"),
        ... ])
        {'dice': 0.375}
    """
    values: dict[str, list[float]] = {}
    for result in results:
        of_column = values.setdefault(result.column, [])
        if str(result.status) in _PRESENT and not math.isnan(result.value):
            of_column.append(result.value)
    return {
        column: math.fsum(found) / len(found) if found else math.nan
        for column, found in values.items()
    }


class DetectionRates(NamedTuple):
    """How well a class was found over all cases.

    Args:
        precision: TP / (TP + FP).
        recall: TP / (TP + FN).
        f1: 2 TP / (2 TP + FP + FN).
    """

    precision: float
    recall: float
    f1: float


def detection_rates(
    found: Iterable[float], missed: Iterable[float], false: Iterable[float]
) -> DetectionRates:
    """Rates over cases of what is 0 or 1 in each: a class that no case has gives 0, as in TopCoW.

    Args:
        found: values of ``found_class``.
        missed: of ``missed_class``.
        false: of ``false_class``.

    Example:
        >>> detection_rates([1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]).recall
        0.6666666666666666
    """
    tp, fn, fp = math.fsum(found), math.fsum(missed), math.fsum(false)

    def share(whole: float, times: int = 1) -> float:
        return times * tp / whole if whole else 0.0

    return DetectionRates(share(tp + fp), share(tp + fn), share(2 * tp + fp + fn, 2))
