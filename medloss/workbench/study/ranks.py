"""Ranks of losses over cases, and how far apart they must be: Friedman and Nemenyi."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.compare.ranking import case_ranks
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.records import Measure

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RankPlot:
    """Mean ranks of a metric.

    Args:
        measure: the metric.
        names: of the losses, the best first.
        ranks: mean rank of each; 1 is best.
        n: cases that were ranked.
        p: of Friedman's test that all losses are alike.
        critical: difference of two mean ranks from which on Nemenyi's test tells them apart.
    """

    measure: Measure
    names: tuple[str, ...]
    ranks: tuple[float, ...]
    n: int
    p: float
    critical: float


def rank_plots(ground: ComparedTable, alpha: float = 0.05) -> list[RankPlot]:
    """Mean ranks over the cases, for every metric.

    Cases of one fold were predicted by the same networks and folds share training cases, so that
    both tests are more certain than they should be.

    Args:
        ground: losses as runs, one value for each case and metric.
        alpha: level of Nemenyi's test.

    References:
        Demsar 2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7:1-30
    """
    found = []
    names = [run.name for run in ground.runs]
    for _, measure, values in ground.grid():
        ranks = case_ranks(values, measure.better)
        ranks = ranks[~np.isnan(ranks).any(axis=1)]
        if not len(ranks):
            continue
        mean = ranks.mean(axis=0)
        order = sorted(range(len(names)), key=lambda i: mean[i])
        critical = critical_difference(len(names), len(ranks), alpha)
        found.append(
            RankPlot(
                measure=measure,
                names=tuple(names[i] for i in order),
                ranks=tuple(float(mean[i]) for i in order),
                n=len(ranks),
                p=friedman(ranks),
                critical=critical,
            )
        )
    return found


def critical_difference(losses: int, cases: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks, q sqrt(k (k + 1) / 6 n).

    Example:
        >>> round(critical_difference(4, 14), 2)
        1.25
    """
    from scipy.stats import studentized_range

    if losses < 2 or cases < 1:
        return math.nan
    q = float(studentized_range.ppf(1 - alpha, losses, np.inf)) / math.sqrt(2)
    return q * math.sqrt(losses * (losses + 1) / (6 * cases))


def friedman(ranks: Floats) -> float:
    """P value of Friedman's test; NaN for fewer than three losses or two cases.

    Args:
        ranks: cases x losses.
    """
    from scipy.stats import friedmanchisquare

    if ranks.shape[0] < 2 or ranks.shape[1] < 3 or (ranks == ranks[:, :1]).all():
        return math.nan
    return float(friedmanchisquare(*ranks.T).pvalue)
