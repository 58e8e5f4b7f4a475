"""Several cases of one patient, or of one centre: what is drawn anew is the patient.

Cases of one patient are alike, so that an interval that takes them for independent ones is too
short. How many clusters are enough for what:

===============  ===============================================================
clusters         interval of the mean
===============  ===============================================================
fewer than 6     none: no test of the 5% level exists, 2 / 2^5 is above it
6 to 10          t with the robust standard error, flagged; the flip test decides
11 to 30         the same, noted
more             bootstrap of the clusters, bias-corrected and accelerated
===============  ===============================================================

Cameron, Gelbach and Miller 2008, Bootstrap-based improvements for inference with clustered errors,
doi:10.1162/rest.90.3.414
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.outputs.statistics.equal import Floats

LEAST = 6
"""So few clusters have an interval or a test."""

FLIP_DECIDES_TO = 10
"""Up to so many, the interval of a difference is held against the flip test."""

BOOTSTRAP_ABOVE = 30


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """Values by cluster.

    Args:
        sums: of each cluster.
        sizes: cases of each.
        index: the cluster of each value.
    """

    sums: Floats
    sizes: Floats
    index: NDArray[np.intp]

    @classmethod
    def of(cls, values: Floats, clusters: Sequence[str]) -> ClusterSums:
        """Sum up.

        Example:
            >>> ClusterSums.of(np.array([1.0, 2.0, 4.0]), ["a", "b", "a"]).sums.tolist()
            [5.0, 2.0]
        """
        numbers = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        index = np.array([numbers[name] for name in clusters], dtype=np.intp)
        return cls(
            np.bincount(index, weights=values, minlength=len(numbers)).astype(np.float64),
            np.bincount(index, minlength=len(numbers)).astype(np.float64),
            index,
        )

    @property
    def alone(self) -> bool:
        """Whether every case is a cluster of its own."""
        return bool((self.sizes == 1).all())

    @property
    def mean(self) -> float:
        """Of the values, each case with the same weight."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def variance(self) -> float:
        """Of the mean: K / (K - 1) sum((S_k - m_k mean)^2) / n^2, robust to likeness within."""
        count = len(self.sums)
        if count < 2:
            return math.nan
        apart = self.sums - self.sizes * self.mean
        return float(count / (count - 1) * (apart**2).sum() / self.sizes.sum() ** 2)


def design_effect(values: Floats, clusters: Sequence[str]) -> float:
    """How many times the variance of the mean is what independent cases would give.

    Example:
        >>> d = np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100
        >>> round(design_effect(d, "1112234456"), 6)
        1.138554
    """
    naive = float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else math.nan
    return ClusterSums.of(values, clusters).variance / naive if naive else math.nan


@dataclass(frozen=True)
class Likeness:
    """One-way analysis of variance of cases within clusters.

    Args:
        between: mean square between the clusters.
        within: mean square within them.
        usual_size: of a cluster, n0 of unequal ones.
        icc: share of the variance that lies between clusters.
        design_effect: 1 + (mA - 1) icc, where mA = sum(m^2) / n.
    """

    between: float
    within: float
    usual_size: float
    icc: float
    design_effect: float


def likeness(values: Floats, clusters: Sequence[str]) -> Likeness | None:
    """How alike cases of one cluster are; ``None`` where every case is its own, or there is one.

    Example:
        >>> d = np.array([2, 0, 2, 1, 5, -1, 3, 8, 0, 4]) / 100
        >>> found = likeness(d, "1112234456")
        >>> round(found.icc, 6), round(found.design_effect, 6)
        (0.235529, 1.235529)
    """
    by = ClusterSums.of(values, clusters)
    count, n = len(by.sums), len(values)
    if count < 2 or count == n:
        return None
    means = by.sums / by.sizes
    between = float((by.sizes * (means - by.mean) ** 2).sum() / (count - 1))
    within = float(((values - means[by.index]) ** 2).sum() / (n - count))
    squares = float((by.sizes**2).sum())
    usual = (n - squares / n) / (count - 1)
    total = between + (usual - 1) * within
    icc = (between - within) / total if total else math.nan
    return Likeness(between, within, usual, icc, 1 + (squares / n - 1) * icc)
