"""Which run is better than which other one beyond chance: one-sided tests of all pairs."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.outputs.statistics import levels, slack_of
from medloss.evaluation.outputs.statistics.paired_tests import mean_ranks

Floats = NDArray[np.float64]

_EXACT = 25


def better_p(d: Floats) -> tuple[float, float]:
    """One-sided p values of Wilcoxon's signed-rank test, that ``d`` is above and below 0.

    Zeros are left out, equal differences share the mean of their ranks. Up to 25 differences every
    pattern of signs is counted; beyond that the normal approximation with continuity correction.

    Example:
        >>> better_p(np.array([0.02, -0.01, 0.01, 0.05, 0.0, 0.02]))
        (0.09375, 0.96875)
    """
    slack = float(slack_of(d))
    sizes = levels(np.abs(d), slack)
    kept = np.abs(d) > slack
    if not kept.any():
        return 1.0, 1.0
    ranks, above = mean_ranks(sizes[kept]), d[kept] > 0
    up, down = float(ranks[above].sum()), float(ranks[~above].sum())
    if len(ranks) <= _EXACT:
        sums = np.ones(1)
        for rank in np.rint(2 * ranks).astype(int).tolist():
            longer = np.zeros(len(sums) + rank)
            longer[: len(sums)] += sums
            longer[rank:] += sums
            sums = longer
        total = 2.0 ** len(ranks)
        tails = (sums[: round(2 * low) + 1].sum() / total for low in (down, up))
        first, second = map(float, tails)
        return first, second
    middle, spread = ranks.sum() / 2, math.sqrt(float((ranks**2).sum()) / 4)
    tail = NormalDist()
    return (
        min(1.0, tail.cdf((down + 0.5 - middle) / spread)),
        min(1.0, tail.cdf((up + 0.5 - middle) / spread)),
    )


def significance(badness: Floats) -> Floats:
    """Adjusted p values, runs x runs: that the run of the row is better than that of the column.

    Args:
        badness: cases x runs, smaller is better; NaN where a run has no value.

    Returns:
        By Holm's rule over all ordered pairs; NaN on the diagonal.
    """
    runs = badness.shape[1]
    p = np.full((runs, runs), math.nan)
    for i in range(runs):
        for j in range(i + 1, runs):
            both = ~np.isnan(badness[:, i]) & ~np.isnan(badness[:, j])
            with np.errstate(invalid="ignore"):
                d = badness[both, j] - badness[both, i]
            p[i, j], p[j, i] = better_p(np.where(np.isnan(d), 0.0, d))  # both infinite: equal
    off = ~np.eye(runs, dtype=np.bool_)
    order = np.argsort(p[off], kind="stable")
    adjusted = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[off][order] * factors))
    found = np.full((runs, runs), math.nan)
    found[off] = adjusted
    return found
