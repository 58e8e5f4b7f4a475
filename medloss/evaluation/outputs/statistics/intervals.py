"""Intervals of means, quantiles and shares, the same on every run.

Which interval a mean gets depends on how many cases there are, because none of them covers for
every number (``docs/statistics.md`` has the simulated coverage):

==================  ====================================================================
cases               interval of the mean
==================  ====================================================================
fewer than 3        none
3 to 29             t: the bootstrap is too short there, also the corrected one
30 and more         bootstrap, bias-corrected and accelerated (BCa)
==================  ====================================================================

Where several cases are of one patient the patients count: :mod:`.clusters`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from medloss.evaluation.outputs.statistics.equal import Floats, slack_of

_NORMAL = NormalDist()
_DRAWS_AT_ONCE = 1 << 20

LEAST_FOR_MEAN = 3
"""So few cases have an interval of their mean; two would have one of many times their distance."""

BOOTSTRAP_FROM = 30
"""So many cases have one of the bootstrap."""

FEW = 20
"""Below, an interval is told with a caution."""


@dataclass(frozen=True)
class Bootstrap:
    """How an interval is made.

    Args:
        resamples: how often as many values are drawn as there are, with replacement.
        seed: of the draws; every interval over as many values has the same draws.
        level: confidence level of the interval.
    """

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95


BOOTSTRAP = Bootstrap()
"""What the tables are made with."""

METHODS = {
    "t": "t interval",
    "bca": "bootstrap of the cases, bias-corrected and accelerated",
    "cluster_t": "t interval of the clusters, with the robust standard error",
    "cluster_bca": "bootstrap of the clusters, bias-corrected and accelerated",
    "equal": "all values are equal, so that it has no width",
    "": "none",
}
"""Ways to an interval, by the word that the files have for them."""


@dataclass(frozen=True)
class Interval:
    """An interval and how it was made.

    Args:
        low: lower end; NaN where there is none.
        high: upper end.
        method: of :data:`METHODS`; empty where there is none.
        n: cases.
        clusters: they are of so many; 0 where each stands for itself.
    """

    low: float = math.nan
    high: float = math.nan
    method: str = ""
    n: int = 0
    clusters: int = 0

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return bool(self.method)

    @property
    def caution(self) -> str:
        """What has to be said beside it, a clause; empty where nothing has."""
        if self.method == "cluster_t":
            return f"{self.clusters} clusters are few"
        if self.method == "t" and self.n < FEW:
            return f"{self.n} cases may be too few to show rare failures"
        if self.method == "equal":
            return "all values are equal, so that the interval has no width"
        return ""

    def holds(self, value: float) -> bool:
        """Whether the value lies in it, ends included; an unknown one holds everything.

        Example:
            >>> Interval(0.0, 1.0, "t", 5).holds(0.0), Interval().holds(7.0)
            (True, True)
        """
        return not self.known or self.low <= value <= self.high


def t_quantile(p: float, df: int) -> float:
    """Quantile of Student's t, 0.5 <= p < 1, for whole degrees of freedom.

    The distribution is a finite sum then (Abramowitz and Stegun 26.7.3 and 26.7.4), so that a
    table of means needs no scipy, which takes longer to load than a case takes to score.

    Example:
        >>> round(t_quantile(0.975, 9), 6), round(t_quantile(0.95, 1), 6)
        (2.262157, 6.313752)
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, df) < 2 * p - 1 else (low, middle)
    return math.sqrt(df) * math.tan(low)


def _t_within(angle: float, df: int) -> float:
    """P(abs(T) <= sqrt(df) tan(angle))."""
    cos = math.cos(angle)
    odd = df % 2
    term = total = cos if odd else 1.0
    for k in range(2 if odd else 1, df - 1, 2):
        term *= cos * cos * k / (k + 1)
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if df > 1 else 0.0))


def t_interval(mean: float, error: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """``mean`` -+ t times the standard error.

    Example:
        >>> [round(end, 6) for end in t_interval(0.024, 0.027162065 / 10**0.5, 9)]
        [0.004569, 0.043431]
    """
    reach = t_quantile((1 + level) / 2, df) * error
    return mean - reach, mean + reach


def bca_interval(
    sums: Floats,
    sizes: Floats | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    slack: float | None = None,
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of a mean, of two or more units.

    With the bias z0 = Phi^-1(share of resampled means below the mean) and the acceleration
    a = sum(d^3) / (6 sum(d^2)^1.5), where d are the deviations of the leave-one-out means, the ends
    are the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled means, z being the
    normal quantile of each tail.

    Args:
        sums: a value for each case, or the sum of each cluster, which is drawn as a whole.
        sizes: cases of each cluster; by default one each.
        bootstrap: how.
        slack: how far apart equal numbers may be; by default by the largest value.

    Example:
        >>> [round(end, 3) for end in bca_interval(np.arange(10.0))]
        [2.7, 6.3]

    References:
        Efron 1987, Better bootstrap confidence intervals, doi:10.1080/01621459.1987.10478410
    """
    ones = np.ones(len(sums))
    sizes = ones if sizes is None else np.asarray(sizes, dtype=np.float64)
    slack = float(slack_of(sums)) if slack is None else slack
    means = np.sort(np.concatenate([*_resampled_means(sums, sizes, bootstrap)]))
    mean = sums.sum() / sizes.sum()
    # Sums in another order differ in the last digit: those are neither below nor above.
    ends = means.searchsorted(mean - slack, "left"), means.searchsorted(mean + slack, "right")
    below = sum(ends) / 2
    # No end of the distribution is infinitely far away, however few resamples reach it.
    share = min(max(below / len(means), 0.5 / len(means)), 1 - 0.5 / len(means))
    bias = _NORMAL.inv_cdf(share)
    # Of the mean without each unit, up to a factor that cancels; at most 1: no power vanishes.
    deviations = (sums - mean * sizes) / (sizes.sum() - sizes)
    deviations = deviations - deviations.mean()
    largest = np.abs(deviations).max()
    acceleration = 0.0
    if largest > 0:
        deviations = deviations / largest
        acceleration = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    tail = (1 - bootstrap.level) / 2
    parts = [_corrected(part, bias, acceleration) for part in (tail, 1 - tail)]
    low, high = np.quantile(means, parts)
    return float(low), float(high)


def _corrected(tail: float, bias: float, acceleration: float) -> float:
    z = bias + _NORMAL.inv_cdf(tail)
    return _NORMAL.cdf(bias + z / (1 - acceleration * z))


def _resampled_means(sums: Floats, sizes: Floats, bootstrap: Bootstrap) -> Iterator[Floats]:
    """In blocks: all draws at once would be a large matrix for a large study."""
    generator = np.random.default_rng(bootstrap.seed)
    rows = max(1, _DRAWS_AT_ONCE // len(sums))
    alike = (sizes == sizes[0]).all()
    for start in range(0, bootstrap.resamples, rows):
        shape = (min(rows, bootstrap.resamples - start), len(sums))
        drawn = generator.integers(len(sums), size=shape, dtype=np.int32)
        if alike:
            yield sums[drawn].mean(axis=1) / sizes[0]
        else:
            yield sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)


# Quantiles and shares


def quantile_interval(values: Floats, q: float, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of a quantile: two of the sorted values.

    The ranks l < u are those nearest to one another with P(B < l) <= a and P(B >= u) <= a, where B
    is binomial (n, q) and a = (1 - level) / 2. Infinite values are values like any other.

    Args:
        values: one for each case; cases are independent.
        q: 0.5 is the median, which has one from 6 cases on; quartiles from 13, the 5% quantile
            from 72.
        level: that is covered at least.

    Returns:
        Lower and upper end; NaN where there are too few cases.

    Example:
        >>> quantile_interval(np.arange(1.0, 11.0), 0.5)
        (2.0, 9.0)
        >>> quantile_interval(np.arange(1.0, 6.0), 0.5)
        (nan, nan)
    """
    n, tail = len(values), (1 - level) / 2
    shares = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    low = high = 0
    below = above = 0.0
    while low < n and below + shares[low] <= tail:
        below += shares[low]
        low += 1
    while high < n and above + shares[n - high] <= tail:
        above += shares[n - high]
        high += 1
    if not low or not high:
        return math.nan, math.nan
    ordered = np.sort(values)
    return float(ordered[low - 1]), float(ordered[n - high])


def wilson_interval(good: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share.

    Example:
        >>> [round(end, 6) for end in wilson_interval(47, 50)]
        [0.837829, 0.979385]
    """
    z = _NORMAL.inv_cdf((1 + level) / 2)
    share = good / of
    middle = share + z * z / (2 * of)
    reach = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    below = 1 + z * z / of
    # At a share of 0 or 1 rounding would leave the range by a last digit.
    return max(0.0, (middle - reach) / below), min(1.0, (middle + reach) / below)


def share_interval(good: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's exact interval of a share.

    Args:
        good: cases that are counted.
        of: all of them; NaN for none.
        level: that is covered at least.

    Example:
        >>> [round(end, 6) for end in share_interval(47, 50)]
        [0.834518, 0.987451]
        >>> [round(end, 6) for end in share_interval(0, 20)]
        [0.0, 0.168433]
    """
    from scipy.special import betaincinv

    if not of:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low = 0.0 if good == 0 else float(betaincinv(good, of - good + 1, tail))
    high = 1.0 if good == of else float(betaincinv(good + 1, of - good, 1 - tail))
    return low, high
