"""Tests of paired differences: by ranks, by flipping signs, against a margin; and many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from medloss.evaluation.outputs.statistics.clusters import LEAST, ClusterSums
from medloss.evaluation.outputs.statistics.equal import Floats, levels, slack_of

_EXACT_RANKS = 50
_EXACT_FLIPS = 16
_FLIPS = 20_000


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test.

    Args:
        p: two-sided; 1 where all differences are 0, NaN without any.
        statistic: the smaller of the two sums of ranks.
        exact: whether every pattern of signs was counted.
        zeros: differences of 0.
    """

    p: float
    statistic: float
    exact: bool
    zeros: int


def signed_rank(d: Floats, slack: float | None = None) -> SignedRank:
    """Wilcoxon's signed-rank test, two-sided, of symmetry about 0.

    Zeros are ranked with the others and their ranks left out (Pratt), so that many pairs without a
    difference count against one. Equal differences share the mean of their ranks. Up to 50
    differences other than 0 every pattern of their signs is counted, ties or not; beyond that the
    normal approximation, with the variance of these ranks.

    Args:
        d: differences; infinite ones are larger than all others.
        slack: how far apart equal ones may be; by default by the largest of them.

    References:
        Wilcoxon 1945, Individual comparisons by ranking methods, doi:10.2307/3001968
        Pratt 1959, Remarks on zeros and ties in the Wilcoxon signed rank procedures,
        doi:10.1080/01621459.1959.10501526

    Example:
        >>> signed_rank(np.array([1.0, 2.0, 3.0, 4.0, 5.0])).p
        0.0625
        >>> signed_rank(np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100)
        SignedRank(p=0.0234375, statistic=3.5, exact=True, zeros=2)
        >>> signed_rank(np.array([0.3 - 0.2, 0.9 - 0.8, 0.6 - 0.7, 0.4 - 0.3])).p
        0.625
    """
    if not len(d):
        return SignedRank(math.nan, math.nan, True, 0)
    slack = float(slack_of(d)) if slack is None else slack
    zero = np.abs(d) <= slack
    sizes = levels(np.where(zero, 0.0, np.abs(d)), slack)
    ranks = mean_ranks(sizes)[~zero]
    if not len(ranks):
        return SignedRank(1.0, 0.0, True, len(d))
    above = float(ranks[d[~zero] > 0].sum())
    smaller = min(above, float(ranks.sum()) - above)
    exact = len(ranks) <= _EXACT_RANKS
    p = _exact_rank_p(ranks, smaller) if exact else _normal_rank_p(ranks, smaller)
    return SignedRank(p, smaller, exact, int(zero.sum()))


def mean_ranks(values: Floats) -> Floats:
    """From 1; equal ones share the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found: Floats = (ends - (counts - 1) / 2)[index]
    return found


def _exact_rank_p(ranks: Floats, smaller: float) -> float:
    """Share of the sign patterns whose smaller sum is at most this one."""
    halves = np.rint(2 * ranks).astype(int)  # a mean rank is a whole or half number
    ways = np.zeros(halves.sum() + 1)
    ways[0] = 1.0
    for step in halves:
        ways[step:] = ways[step:] + ways[:-step]
    below = ways[: round(2 * smaller) + 1].sum()
    return min(1.0, 2 * float(below / ways.sum()))


def _normal_rank_p(ranks: Floats, smaller: float) -> float:
    z = (smaller - ranks.sum() / 2) / math.sqrt(float((ranks**2).sum()) / 4)
    return min(1.0, 2 * NormalDist().cdf(z))


def sign_flip(
    d: Floats, clusters: Sequence[str] | None = None, *, seed: int = 0, slack: float | None = None
) -> float:
    """P value of the sign-flip test of the mean, two-sided.

    Where nothing differs, the two runs of a cluster could as well be exchanged. Every pattern of
    signs is counted for up to 16 units with a difference; beyond, 20 000 are drawn, and the one
    that was seen is one of them.

    Args:
        d: finite differences.
        clusters: whose cases are exchanged together; by default each alone.
        seed: of the draws.
        slack: how far apart equal sums may be; by default by the largest.

    Returns:
        NaN for fewer than 6 units: the smallest p there is would be above 0.05.

    Example:
        >>> d = np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100
        >>> sign_flip(d), sign_flip(d, "1112234456")
        (0.0234375, 0.125)
    """
    sums = np.asarray(d, dtype=np.float64)
    if clusters is not None and len(sums):
        sums = ClusterSums.of(sums, clusters).sums
    if len(sums) < LEAST or not np.isfinite(sums).all():
        return math.nan
    slack = float(slack_of(np.abs(sums).sum())) if slack is None else slack
    seen = abs(float(sums.sum()))
    sums = sums[np.abs(sums) > slack]
    if len(sums) <= _EXACT_FLIPS:
        totals = np.zeros(1)
        for each in sums:
            totals = np.concatenate([totals + each, totals - each])
        return float((np.abs(totals) >= seen - slack).mean())
    signs = np.random.default_rng(seed).integers(2, size=(_FLIPS, len(sums))) * 2 - 1
    beyond = int((np.abs(signs @ sums) >= seen - slack).sum())
    return (1 + beyond) / (1 + _FLIPS)


def sign_test(d: Floats, slack: float | None = None) -> float:
    """P value of the sign test, two-sided; differences of 0 are left out.

    Example:
        >>> sign_test(np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100)
        0.0703125
    """
    slack = float(slack_of(d)) if slack is None else slack
    above, below = int((d > slack).sum()), int((d < -slack).sum())
    n, few = above + below, min(above, below)
    if not n:
        return 1.0 if len(d) else math.nan
    return min(1.0, 2.0 * sum(math.comb(n, k) for k in range(few + 1)) / 2.0**n)


def hodges_lehmann(d: Floats) -> float:
    """Median of the means of all pairs of differences: the size of what Wilcoxon's test tests.

    Example:
        >>> round(hodges_lehmann(np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100), 12)
        0.02
    """
    if not len(d) or not np.isfinite(d).all():
        return math.nan
    rows, columns = np.triu_indices(len(d))
    return float(np.median((d[rows] + d[columns]) / 2))


def one_sided_p(mean: float, error: float, df: int, limit: float) -> float:
    """P value of "the mean is not above the limit", by t.

    Example:
        >>> error = 0.027162065 / 10**0.5
        >>> round(one_sided_p(0.024, error, 9, -0.02), 6)  # not worse by 0.02
        0.000313
        >>> at_least = one_sided_p(0.024, error, 9, -0.05)
        >>> at_most = one_sided_p(-0.024, error, 9, -0.05)
        >>> round(max(at_least, at_most), 6)  # equivalent within 0.05
        0.007158
    """
    from scipy.special import stdtr

    if not error > 0:
        return math.nan if math.isnan(error) or math.isnan(mean) else float(mean <= limit)
    return float(stdtr(df, -(mean - limit) / error))


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
