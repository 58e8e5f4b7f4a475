"""Means of a few values with an interval, the same on every run, and which numbers are equal.

Numbers are equal to the digits that were measured, not to the last bit of their sums: 0.3 - 0.2 and
0.9 - 0.8 are the same difference, and in floating point they are not the same number. Ranks, counts
of wins and limits that compare bits would let rounding decide; they compare here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NORMAL = NormalDist()
_DRAWS_AT_ONCE = 1 << 20

SHARE = 1e-9
"""Numbers are equal if they differ by at most this share of the largest of those compared. Rounding
is a million times smaller, and no measurement has so many digits."""


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


def mean_interval(
    values: Floats, bootstrap: Bootstrap = BOOTSTRAP, *, slack: float | None = None
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean.

    With the bias z0 = Phi^-1(share of resampled means below the mean) and the acceleration
    a = sum(d^3) / (6 sum(d^2)^1.5), where d are the deviations of the leave-one-out means, the ends
    are the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled means, z being the
    normal quantile of each tail.

    Args:
        values: one for each case; cases are taken to be independent.
        bootstrap: how.
        slack: how far apart equal numbers may be; by default by the largest value.

    Returns:
        Lower and upper end. NaN for fewer than two values or an infinite one; where all values are
        equal, that value.

    Example:
        >>> [round(end, 3) for end in mean_interval(np.arange(10.0))]
        [2.7, 6.3]

    References:
        Efron 1987, Better bootstrap confidence intervals, doi:10.1080/01621459.1987.10478410
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return float("nan"), float("nan")
    slack = float(slack_of(values)) if slack is None else slack
    if values.max() - values.min() <= slack:
        return float(values[0]), float(values[0])
    means = np.sort(np.concatenate([*_resampled_means(values, bootstrap)]))
    mean = values.mean()
    # Sums in another order differ in the last digit: those are neither below nor above.
    ends = means.searchsorted(mean - slack, "left"), means.searchsorted(mean + slack, "right")
    below = sum(ends) / 2
    # No end of the distribution is infinitely far away, however few resamples reach it.
    share = min(max(below / len(means), 0.5 / len(means)), 1 - 0.5 / len(means))
    bias = _NORMAL.inv_cdf(share)
    # Of the leave-one-out means, up to a factor that cancels; at most 1, so that no power vanishes.
    deviations = (values - mean) / np.abs(values - mean).max()
    acceleration = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    tail = (1 - bootstrap.level) / 2
    parts = [_corrected(part, bias, acceleration) for part in (tail, 1 - tail)]
    low, high = np.quantile(means, parts)
    return float(low), float(high)


def _corrected(tail: float, bias: float, acceleration: float) -> float:
    z = bias + _NORMAL.inv_cdf(tail)
    return _NORMAL.cdf(bias + z / (1 - acceleration * z))


def _resampled_means(values: Floats, bootstrap: Bootstrap) -> Iterator[Floats]:
    """In blocks: all draws at once would be a large matrix for a large study."""
    generator = np.random.default_rng(bootstrap.seed)
    rows = max(1, _DRAWS_AT_ONCE // len(values))
    for start in range(0, bootstrap.resamples, rows):
        shape = (min(rows, bootstrap.resamples - start), len(values))
        yield values[generator.integers(len(values), size=shape, dtype=np.int32)].mean(axis=1)


def slack_of(values: Any, axis: int | None = None) -> Any:
    """How far apart equal numbers may be: :data:`SHARE` of the largest finite one.

    Example:
        >>> round(float(slack_of([0.5, -2.0, float("inf")])), 12)
        2e-09
    """
    size = np.abs(np.asarray(values, dtype=np.float64))
    return SHARE * np.where(np.isfinite(size), size, 0.0).max(axis=axis, initial=0.0)


def levels(values: Any, slack: Any) -> Floats:
    """The numbers, with those along the last axis that are equal made the same; NaN stays.

    Args:
        values: any number of axes.
        slack: how far apart equal ones may be, a number or one for each line.

    Example:
        >>> levels([0.3 - 0.2, 0.9 - 0.8, 0.2], 1e-9).tolist()
        [0.09999999999999998, 0.09999999999999998, 0.2]
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    with np.errstate(invalid="ignore"):  # infinite numbers are equal, and their difference is none
        apart = np.diff(ordered, axis=-1) > np.asarray(slack)[..., None]
    first = np.zeros(values.shape, dtype=np.intp)
    first[..., 1:] = np.where(apart, np.arange(1, values.shape[-1]), 0)
    first = np.maximum.accumulate(first, axis=-1)
    found: Floats = np.empty_like(values)
    np.put_along_axis(found, order, np.take_along_axis(ordered, first, axis=-1), axis=-1)
    found[np.isnan(values)] = np.nan
    return found
