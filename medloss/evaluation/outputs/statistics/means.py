"""The interval that a mean gets: by how many cases there are, and of how many patients."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Sequence

import numpy as np

from medloss.evaluation.outputs.statistics import clusters as grouped
from medloss.evaluation.outputs.statistics.clusters import ClusterSums
from medloss.evaluation.outputs.statistics.equal import Floats, slack_of
from medloss.evaluation.outputs.statistics.intervals import (
    BOOTSTRAP,
    BOOTSTRAP_FROM,
    FEW,
    LEAST_FOR_MEAN,
    METHODS,
    Bootstrap,
    Interval,
    bca_interval,
    t_interval,
)
from medloss.offers.cards import written_docstring
from medloss.offers.host import PluginError, host

_RANGE = re.compile(r"^\s*Range:\s*(-?[\d.]+)(?:[^.]*?\bto (-?\d+(?:\.\d+)?)\b)?", re.MULTILINE)


def mean_interval(
    values: Floats,
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    clusters: Sequence[str] | None = None,
    slack: float | None = None,
    within: tuple[float, float | None] | None = None,
) -> Interval:
    """The interval of a mean, by the rules of :mod:`.intervals` and :mod:`.clusters`.

    Args:
        values: one for each case.
        bootstrap: how, where there are enough cases for one; and the level.
        clusters: the cluster of each case; by default each stands for itself.
        slack: how far apart equal numbers may be; by default by the largest value.
        within: the range of the values, in which their mean lies, and the interval ends.

    Returns:
        None of it known for too few cases or clusters, or where a value is infinite; where all
        values are equal, that value twice.

    Example:
        >>> d = np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100
        >>> found = mean_interval(d)
        >>> round(found.low, 6), round(found.high, 6), found.method
        (0.004569, 0.043431, 't')
        >>> found = mean_interval(d, clusters="1112234456")
        >>> round(found.low, 6), round(found.high, 6), found.method
        (0.00044, 0.04756, 'cluster_t')
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if not n or not np.isfinite(values).all():
        return Interval(n=n)
    by = None if clusters is None else ClusterSums.of(values, clusters)
    by = None if by is None or by.alone else by
    count = n if by is None else len(by.sums)
    found = Interval(n=n, clusters=0 if by is None else count)
    if count < (LEAST_FOR_MEAN if by is None else grouped.LEAST):
        return found
    slack = float(slack_of(values)) if slack is None else slack
    if values.max() - values.min() <= slack:
        return dataclasses.replace(
            found, low=float(values[0]), high=float(values[0]), method="equal"
        )
    if by is None and n >= BOOTSTRAP_FROM:
        ends, method = bca_interval(values, None, bootstrap, slack=slack), "bca"
    elif by is None:
        error = float(values.std(ddof=1)) / math.sqrt(n)
        ends, method = t_interval(float(values.mean()), error, n - 1, bootstrap.level), "t"
    elif count > grouped.BOOTSTRAP_ABOVE:
        ends, method = bca_interval(by.sums, by.sizes, bootstrap, slack=slack), "cluster_bca"
    else:
        error = math.sqrt(by.variance)
        ends, method = t_interval(by.mean, error, count - 1, bootstrap.level), "cluster_t"
    low, high = ends
    if within is not None:
        low = max(low, within[0])
        high = high if within[1] is None else min(high, within[1])
    return dataclasses.replace(found, low=low, high=high, method=method)


@functools.cache
def value_range(column: str) -> tuple[float, float | None] | None:
    """The ends that the card of a metric names; ``None`` where it names none, or is not here.

    Args:
        column: of the metric, with its options or without.

    Example:
        >>> value_range("normalized_surface_dice[tolerance_mm=2]"), value_range("hausdorff95")
        ((0.0, 1.0), (0.0, None))
    """
    try:
        record = host().metrics.find(column.partition("[")[0]).record
    except PluginError:
        return None
    found = _RANGE.search(written_docstring(record.target))
    return None if found is None else (float(found[1]), float(found[2]) if found[2] else None)


def interval_rules(bootstrap: Bootstrap = BOOTSTRAP, *, noun: str = "") -> str:
    """Which interval a mean has, a clause.

    Args:
        bootstrap: how, where there is one.
        noun: what the clusters are called; empty where each case stands for itself.
    """
    drawn = f"{bootstrap.resamples} resamples, seed {bootstrap.seed}"
    if noun:
        return (
            f"{noun} are the units: none below {grouped.LEAST} {noun}, {METHODS['cluster_t']} up "
            f"to {grouped.BOOTSTRAP_ABOVE}, beyond that {METHODS['cluster_bca']} ({drawn})"
        )
    return (
        f"none below {LEAST_FOR_MEAN} cases, {METHODS['t']} below {BOOTSTRAP_FROM}, from there on "
        f"{METHODS['bca']} ({drawn}); below {FEW} they may be too short where failures are rare"
    )
