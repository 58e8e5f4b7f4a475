"""Differences between two runs, case by case: how large, how sure, in whose favour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.outputs.statistics import Bootstrap, levels, mean_interval, slack_of
from medloss.evaluation.records import Measure, Result, ScoredLabel

Floats = NDArray[np.float64]

_EXACT_WITH_TIES = 13


@dataclass(frozen=True)
class Difference:
    """Second run minus first, over the cases where both have a number.

    Args:
        label: of the values.
        measure: metric or loss.
        first: name of a run.
        second: name of another.
        n: pairs of numbers.
        only_first: cases where only the first run has a number.
        only_second: cases where only the second has.
        neither: cases where none has.
        mean_first: over the pairs.
        mean_second: over the pairs.
        mean: of the differences, 0 where the means are equal; infinite or NaN where numbers are
            infinite.
        median: of the differences.
        ci_low: lower end of the bootstrap interval of ``mean``.
        ci_high: upper end.
        wins: pairs where the second run is better.
        ties: pairs of equal numbers (:mod:`medloss.evaluation.outputs.statistics`).
        losses: pairs where the first run is better.
        p: Wilcoxon signed-rank test, two-sided; 1 where all pairs are equal, NaN without pairs.
        p_holm: adjusted for all tests of the comparison.
        differences: by case; NaN where there is no pair.
    """

    label: ScoredLabel
    measure: Measure
    first: str
    second: str
    n: int
    only_first: int
    only_second: int
    neither: int
    mean_first: float
    mean_second: float
    mean: float
    median: float
    ci_low: float
    ci_high: float
    wins: int
    ties: int
    losses: int
    p: float
    p_holm: float
    differences: tuple[float, ...]

    @property
    def favours(self) -> str:
        """The run with the better mean; empty where they are equal or there is none."""
        if not self.mean:
            return ""
        if math.isnan(self.mean):
            return ""
        return self.second if (self.mean > 0) == (self.measure.better == "higher") else self.first


def differences(
    compared: ComparedTable, bootstrap: Bootstrap, baseline: str | None = None
) -> tuple[Difference, ...]:
    """Every pair of runs, for every metric and label, adjusted together.

    Args:
        compared: the runs.
        bootstrap: how intervals are made.
        baseline: only the others minus this run.
    """
    names = [run.name for run in compared.runs]
    pairs = [*itertools.combinations(range(len(names)), 2)]
    if baseline is not None:
        base = names.index(baseline)
        pairs = [(base, other) for other in range(len(names)) if other != base]
    found = [
        difference(label, measure, (names[i], names[j]), (values[i], values[j]), bootstrap)
        for label, measure, values in compared.grid()
        for i, j in pairs
    ]
    adjusted = holm([each.p for each in found])
    return tuple(replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True))


def difference(
    label: ScoredLabel,
    measure: Measure,
    names: tuple[str, str],
    values: tuple[Sequence[Result | None], Sequence[Result | None]],
    bootstrap: Bootstrap,
) -> Difference:
    """Two runs in one metric and label.

    A number takes part whatever the status of its label, so that the distance which a policy gives
    to a missed label does. A case without number on one side or both is in no pair, and is counted.
    """
    first, second = (
        np.array([value.value if value else math.nan for value in own], dtype=np.float64)
        for own in values
    )
    has = ~np.isnan(first), ~np.isnan(second)
    both = has[0] & has[1]
    a, b = first[both], second[both]
    apart = np.full(len(first), math.nan)
    # Two infinite distances are equally bad; numpy would make their difference undefined.
    slack = float(slack_of([a, b]))
    pairs = levels(np.stack([first, second], axis=-1), slack)
    unequal = both & (pairs[:, 0] != pairs[:, 1])
    apart[both] = 0.0
    apart[unequal] = second[unequal] - first[unequal]
    d = apart[both]
    mean = _of(np.mean, d)
    sign = 1 if measure.better == "higher" else -1
    low, high = mean_interval(d, bootstrap, slack=slack)
    return Difference(
        label=label,
        measure=measure,
        first=names[0],
        second=names[1],
        n=len(d),
        only_first=int((has[0] & ~has[1]).sum()),
        only_second=int((has[1] & ~has[0]).sum()),
        neither=int((~has[0] & ~has[1]).sum()),
        mean_first=_of(np.mean, a),
        mean_second=_of(np.mean, b),
        mean=0.0 if abs(mean) <= slack else mean,
        median=_of(np.median, d),
        ci_low=low,
        ci_high=high,
        wins=int((sign * d > 0).sum()),
        ties=int((d == 0).sum()),
        losses=int((sign * d < 0).sum()),
        p=signed_rank(d, slack),
        p_holm=math.nan,
        differences=tuple(apart.tolist()),
    )


def signed_rank(d: Floats, slack: float | None = None) -> float:
    """P value of Wilcoxon's signed-rank test, two-sided.

    Differences of 0 are left out before the others are ranked, and equal ones share the mean of
    their ranks. Exact up to 50 pairs without ties, and up to 13 with ties; else by the normal
    approximation.

    Args:
        d: differences; infinite ones are larger than all others.
        slack: how far apart equal ones may be; by default by the largest of them.

    References:
        Wilcoxon 1945, Individual comparisons by ranking methods, doi:10.2307/3001968

    Example:
        >>> signed_rank(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
        0.0625
        >>> signed_rank(np.zeros(4))
        1.0
        >>> signed_rank(np.array([0.3 - 0.2, 0.9 - 0.8, 0.6 - 0.7, 0.4 - 0.3]))
        0.625
    """
    from scipy.stats import PermutationMethod, wilcoxon

    if not len(d):
        return math.nan
    slack = float(slack_of(d)) if slack is None else slack
    d = d[np.abs(d) > slack]
    if not len(d):
        return 1.0
    size = levels(np.abs(d), slack)
    d = np.sign(d) * size
    if np.isinf(size).any():  # only their rank counts
        d = np.sign(d) * np.where(np.isinf(size), size[np.isfinite(size)].max(initial=0) + 1, size)
    tied = len(np.unique(np.abs(d))) < len(d)
    # Every one of the 2^13 sign patterns is tried, so that nothing is random.
    method = PermutationMethod() if tied and len(d) <= _EXACT_WITH_TIES else "auto"
    return float(wilcoxon(d, method=method).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted by Holm's step-down rule; NaN is no test and stays.

    Sorted ascending, the i-th of m becomes max over j <= i of (m - j + 1) p_j, at most 1.

    References:
        Holm 1979, A simple sequentially rejective multiple test procedure, Scand J Stat 6:65-70

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=lambda i: p[i])
    adjusted = [math.nan] * len(p)
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - position) * p[index]))
        adjusted[index] = largest
    return adjusted


def _of(statistic: Callable[[Floats], Any], values: Floats) -> float:
    with np.errstate(invalid="ignore"):  # infinite on both sides has no mean
        return float(statistic(values)) if len(values) else math.nan
