"""Two groups of cases: how far their means are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.outputs.statistics.clusters import LEAST, ClusterSums
from medloss.evaluation.outputs.statistics.equal import Floats, slack_of

LEAST_CASES = 10
"""Smaller groups, of cases or of clusters, have points and no interval."""


@dataclass(frozen=True)
class GroupDifference:
    """Mean of the second group minus that of the first.

    Args:
        mean: the difference.
        low: lower end of the interval, NaN where there is none.
        high: upper end.
        p: two-sided, of no difference.
        df: degrees of freedom, of Welch and Satterthwaite.
    """

    mean: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    df: float = math.nan


def group_difference(
    first: Floats,
    second: Floats,
    clusters: tuple[Sequence[str], Sequence[str]] | None = None,
    *,
    level: float = 0.95,
    least: int = LEAST_CASES,
) -> GroupDifference:
    """Welch's t interval and test of two means; variances may differ.

    With clusters the variance of each mean is the robust one, and a patient who has cases in both
    groups counts in both: what the groups share of him is taken off, and the degrees of freedom are
    those of the group with fewer clusters.

    Args:
        first: values of a group.
        second: values of another.
        clusters: of the cases of both.
        level: of the interval.
        least: units that each group must have for an interval.

    Example:
        >>> d = np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100
        >>> found = group_difference(d[:5], d[5:], least=5)
        >>> [round(x, 3) for x in (found.mean, found.low, found.high, found.p)]
        [0.008, -0.036, 0.052, 0.672]
    """
    if not len(first) or not len(second):
        return GroupDifference(math.nan)
    if not np.isfinite(first).all() or not np.isfinite(second).all():
        return GroupDifference(math.nan)
    mean = float(second.mean() - first.mean())
    names: tuple[Sequence[str], Sequence[str]] = clusters or (
        [f"first {i}" for i in range(len(first))],
        [f"second {i}" for i in range(len(second))],
    )
    sides = [ClusterSums.of(x, own) for x, own in zip((first, second), names, strict=True)]
    counts = [len(side.sums) for side in sides]
    if min(counts) < max(least, 2 if clusters is None else min(LEAST, least)):
        return GroupDifference(mean)
    from scipy.special import stdtr, stdtrit

    parts = [side.variance for side in sides]
    if set(names[0]) & set(names[1]):
        df = float(min(counts) - 1)
        variance = _shared_variance((first, second), names)
    else:
        variance = sum(parts)
        below = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        df = variance**2 / below if below else math.nan
    slack = float(slack_of(np.concatenate([first, second])))
    if not math.sqrt(variance) > slack:
        return GroupDifference(mean)
    error = math.sqrt(variance)
    reach = float(stdtrit(df, (1 + level) / 2)) * error
    p = 2 * float(stdtr(df, -abs(mean) / error))
    return GroupDifference(mean, mean - reach, mean + reach, p, df)


def _shared_variance(values: tuple[Floats, Floats], names: Sequence[Sequence[str]]) -> float:
    """Of the difference of two means that some clusters are part of both of."""
    apart: dict[str, float] = {}
    for sign, own, mine in zip((-1.0, 1.0), values, names, strict=True):
        for value, name in zip(own - own.mean(), mine, strict=True):
            apart[name] = apart.get(name, 0.0) + sign * float(value) / len(own)
    count = len(apart)
    return count / (count - 1) * sum(x * x for x in apart.values())
