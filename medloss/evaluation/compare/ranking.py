"""Which run is best, second best and so on, and how far that depends on the cases.

Ranks are made for each case, then averaged (rank, then aggregate): no case outweighs the others, a
missed label is the last rank whatever a policy would make of its distance, and metrics of different
units can be put together. The order of the means (aggregate, then rank) is given beside it.

Maier-Hein et al. 2018, Why rankings of biomedical image analysis competitions should be interpreted
with care, doi:10.1038/s41467-018-07619-7
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.outputs.statistics import Bootstrap, levels, slack_of
from medloss.evaluation.records import Measure, Result, ScoredLabel
from medloss.runtime.progress import tracked

Floats = NDArray[np.float64]

_DRAWS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Ranking:
    """The runs in order, for one metric and label or over all of them.

    Args:
        label: ``None`` over all.
        measure: ``None`` over all.
        n: cases that could be ranked.
        mean_ranks: by run; 1 is best. NaN where no case could be ranked.
        places: by run, of the mean ranks; equal ones share the better place.
        means: by run, over the cases where all have a number; empty over all metrics.
        places_of_means: by run; empty over all metrics.
        shares: by run and place, the share of bootstrap resamples of the cases in that place.
        tau: Kendall's tau between the order of a resample and the order here, on average; 1 where
            every resample gives the same order.
    """

    label: ScoredLabel | None
    measure: Measure | None
    n: int
    mean_ranks: tuple[float, ...]
    places: tuple[int, ...]
    means: tuple[float, ...]
    places_of_means: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    tau: float


def rankings(
    compared: ComparedTable, bootstrap: Bootstrap, clusters: Mapping[str, str] | None = None
) -> tuple[Ranking, ...]:
    """Over everything first, then for each metric and label.

    Over everything every metric of every label weighs the same.

    Args:
        compared: the runs.
        bootstrap: of the stability.
        clusters: of each case, which are drawn whole.
    """
    grid = list(compared.grid())
    ranks = np.stack([case_ranks(values, measure.better) for _, measure, values in grid])
    samples = _resampled(
        ranks, bootstrap, clusters_of(compared, clusters)
    )  # grid x resamples x runs
    whole = known_mean(known_mean(ranks, axis=1))
    ranked = int((~np.isnan(ranks)).any(axis=(0, 2)).sum())
    everything = _ranking(None, None, ranked, whole, known_mean(samples), (), ())
    found = [everything]
    for (label, measure, values), own, sample in zip(grid, ranks, samples, strict=True):
        means = _means(values)
        places = _places(np.array(means) * (-1 if measure.better == "higher" else 1))
        count = int((~np.isnan(own[:, 0])).sum())
        mean_ranks = known_mean(own)
        found.append(_ranking(label, measure, count, mean_ranks, sample, means, places))
    return tuple(found)


def case_ranks(values: Sequence[Sequence[Result | None]], better: str) -> Floats:
    """Rank of every run in every case, cases x runs; equal values share the mean of their ranks.

    Which are equal, :mod:`medloss.evaluation.outputs.statistics` says.

    A run without a number ranks last, beside others like it, if its case failed or its label is
    missed or spurious, and first if it rightly found nothing. A case where no run has a number is
    not ranked (NaN).

    Example:
        >>> values = (("ok", 0.8), ("missed", math.nan), ("ok", 0.9))
        >>> ok, missed, better = (Result(1, "dice", x, "", status) for status, x in values)
        >>> case_ranks([[ok, missed], [better, missed], [missed, missed]], "higher")
        array([[ 2.,  1.,  3.],
               [nan, nan, nan]])
    """
    sign = -1.0 if better == "higher" else 1.0
    badness = np.array([[_badness(value, sign) for value in own] for own in values]).T
    known = np.array([[bool(value and value.used) for value in own] for own in values]).T
    ranks: Floats = rankdata(levels(badness, slack_of(badness, axis=1)), axis=1)
    ranks[~known.any(axis=1)] = math.nan
    return ranks


def _badness(value: Result | None, sign: float) -> float:
    if value and value.used:
        return sign * value.value
    return -math.inf if value and value.status == "both_empty" else math.inf


def _ranking(
    label: ScoredLabel | None,
    measure: Measure | None,
    n: int,
    mean_ranks: Floats,
    sample: Floats,
    means: tuple[float, ...],
    places_of_means: tuple[int, ...],
) -> Ranking:
    runs = len(mean_ranks)
    # No ranked case may be drawn.
    sample = sample[~np.isnan(sample).any(axis=1)]
    sample = levels(sample, slack_of(sample, axis=1)) if len(sample) else sample
    places = rankdata(sample, method="min", axis=1) if len(sample) else np.empty((0, runs))
    shares = [
        [
            float((places[:, run] == place).mean()) if len(places) else math.nan
            for place in range(1, runs + 1)
        ]
        for run in range(runs)
    ]
    return Ranking(
        label=label,
        measure=measure,
        n=n,
        mean_ranks=tuple(mean_ranks.tolist()),
        places=_places(mean_ranks),
        means=means,
        places_of_means=places_of_means,
        shares=tuple(map(tuple, shares)),
        tau=_tau(mean_ranks, sample),
    )


def _resampled(ranks: Floats, bootstrap: Bootstrap, index: NDArray[np.intp]) -> Floats:
    """Mean ranks over cases drawn with replacement, the same ones for every metric and label."""
    grid, cases, runs = ranks.shape
    known = (~np.isnan(ranks[:, :, 0])).astype(np.float64)
    filled = np.nan_to_num(ranks).transpose(1, 0, 2).reshape(cases, grid * runs)
    parts = []
    for weights in drawn_weights(index, bootstrap):
        sums = (weights @ filled).reshape(-1, grid, runs)
        counts = (weights @ known.T)[:, :, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(sums / counts)
    return np.concatenate(parts).transpose(1, 0, 2)


def clusters_of(compared: ComparedTable, clusters: Mapping[str, str] | None) -> NDArray[np.intp]:
    """The number of the cluster of each case; each is its own where there are none."""
    if clusters is None:
        return np.arange(len(compared.cases))
    names = [clusters[name] for name in compared.cases]
    return np.unique(names, return_inverse=True)[1].reshape(-1)


def drawn_weights(index: NDArray[np.intp], bootstrap: Bootstrap) -> Iterator[Floats]:
    """How often each case is drawn, resamples x cases, in blocks; clusters are drawn whole."""
    generator = np.random.default_rng(bootstrap.seed)
    count = int(index.max()) + 1
    rows = max(1, _DRAWS_AT_ONCE // len(index))
    for start in tracked(range(0, bootstrap.resamples, rows), "resamples"):
        size = min(rows, bootstrap.resamples - start)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        yield drawn[:, index].astype(float)


def known_mean(values: Floats, axis: int = 0) -> Floats:
    """Of the numbers along an axis; NaN where there are none."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    mean = np.where(known, values, 0).sum(axis=axis) / np.maximum(count, 1)
    return np.where(count > 0, mean, math.nan)


def _means(values: Sequence[Sequence[Result | None]]) -> tuple[float, ...]:
    table = np.array([[value.value if value else math.nan for value in own] for own in values])
    table = table[:, ~np.isnan(table).any(axis=0)]
    return tuple(table.mean(axis=1).tolist()) if table.size else (math.nan,) * len(values)


def _places(badness: Floats) -> tuple[int, ...]:
    """1 for the smallest; equal ones share the better place, unknown ones the last."""
    filled = np.where(np.isnan(badness), math.inf, badness)
    return tuple(int(place) for place in rankdata(levels(filled, slack_of(filled)), method="min"))


def _tau(order: Floats, sample: Floats) -> float:
    if not len(sample):
        return math.nan
    pairs = list(itertools.combinations(range(len(order)), 2))
    order = levels(order, slack_of(order))
    here = np.array([np.sign(order[j] - order[i]) for i, j in pairs])
    there = np.array([np.sign(sample[:, j] - sample[:, i]) for i, j in pairs])
    return float((here[:, None] * there).mean())
