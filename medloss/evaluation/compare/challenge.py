"""The ranking of a challenge: as a profile says, with its stability and a map of significance.

``rank_then_aggregate`` ranks the runs in each case and averages the ranks, ``aggregate_then_rank``
ranks means or medians over the cases, ``test_then_rank`` ranks by the number of runs that a run is
significantly better than. Ranks of several metrics and labels are put together by weights.

Wiesenfarth et al. 2021, Methods and open-source toolkit for analyzing and visualizing challenge
results, doi:10.1038/s41598-021-82017-6
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from medloss.evaluation.compare.challenge_rules import Rules
from medloss.evaluation.compare.challenge_values import RankedValues, ranked_values
from medloss.evaluation.compare.ranking import clusters_of, drawn_weights
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.outputs.statistics import Bootstrap, levels, slack_of
from medloss.evaluation.profiles.reading import ReadProfile
from medloss.evaluation.profiles.schema import SHORT
from medloss.evaluation.records import Measure, ScoredLabel

Floats = NDArray[np.float64]

MANY = 8
"""Of more runs, differences of all pairs would be too many to read."""

_MOST_TESTS = 60_000
_FEWEST = 100


@dataclass(frozen=True)
class Row:
    """What is ranked by itself: a metric of a label, or of all labels together.

    Args:
        title: of it.
        measure: of the values.
        labels: that are in it.
        weight: in the ranking.
        values: aggregated, by run.
        ranks: by run.
        better: adjusted p values, runs x runs, that the first is better than the second.
    """

    title: str
    measure: Measure
    labels: tuple[ScoredLabel, ...]
    weight: float
    values: tuple[float, ...]
    ranks: tuple[float, ...]
    better: Floats = field(repr=False)


@dataclass(frozen=True)
class Challenge:
    """The ranking that a profile asks for.

    Args:
        profile: name and hash.
        rules: of the ranking.
        rows: what it is made of.
        scores: weighted mean rank, by run.
        places: by run; equal ones share the better place.
        shares: by run and place, the share of resamples of the cases in that place.
        tau_a: Kendall's tau between the order of a resample and this one, on average.
        tau_b: likewise, corrected for ties.
        resamples: how many; 0 where too many tests would have to be made anew.
        missing: cases x labels x metrics where a run had no value, by run.
        clusters: that are drawn whole; 0 where each case stands for itself.
        notes: what the runs were made by instead of the profile, without an end.
    """

    profile: str
    rules: Rules
    rows: tuple[Row, ...]
    scores: tuple[float, ...]
    places: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    tau_a: float
    tau_b: float
    resamples: int
    missing: tuple[int, ...]
    clusters: int = 0
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> list[int]:
        """Runs from the best on."""
        return sorted(range(len(self.places)), key=lambda run: (self.places[run], run))

    def beats(self, run: int) -> float:
        """How many runs it is significantly better than, on average over the rows."""
        wins = [int((row.better[run] < self.rules.level).sum()) for row in self.rows]
        return sum(wins) / len(wins)


def challenge(
    compared: ComparedTable,
    profile: ReadProfile,
    bootstrap: Bootstrap,
    *,
    clusters: Mapping[str, str] | None = None,
    other: bool = False,
) -> Challenge:
    """Rank the runs as a profile says.

    Args:
        compared: the runs.
        profile: with a ranking.
        bootstrap: of the stability.
        clusters: of each case, which are drawn whole.
        other: whether runs may have been made by another version of the profile.

    Raises:
        ValueError: it says nothing of ranking, or names what the runs do not have.
    """
    rules = Rules.of(profile)
    notes = tuple(_made_otherwise(compared, profile, other=other))
    tables = [*ranked_values(compared, rules)]
    if not tables:
        raise ValueError(f"the runs have none of the metrics that {profile.name} ranks")
    if not sum(table.weight for table in tables):
        raise ValueError(f"{profile.name}: ranking.weights: all that is ranked weighs 0")
    cases, runs = tables[0].badness.shape[1:]
    everything = np.ones((1, cases))
    ranks = [table.ranks(everything, rules)[0] for table in tables]
    score, order = _scores(tables, everything, rules)
    drawn = _drawn(rules, len(tables), cases, runs, bootstrap)
    index = clusters_of(compared, clusters)
    places, orders = _resampled(tables, rules, index, Bootstrap(drawn, bootstrap.seed))
    own = levels(order[0], slack_of(order[0]))
    tau_a, tau_b = _taus(own, orders)
    return Challenge(
        profile=str(profile),
        notes=notes,
        clusters=0 if clusters is None else int(index.max()) + 1,
        rules=rules,
        rows=tuple(
            Row(
                table.title,
                table.measure,
                table.labels,
                table.weight,
                tuple((table.sign * table.aggregate(everything, rules)[0]).tolist()),
                tuple(rank.tolist()),
                table.better,
            )
            for table, rank in zip(tables, ranks, strict=True)
        ),
        scores=tuple(score[0].tolist()),
        places=tuple(int(place) for place in rankdata(own, method="min")),
        shares=tuple(
            tuple(
                float((places[:, run] == place).mean()) if len(places) else math.nan
                for place in range(1, runs + 1)
            )
            for run in range(runs)
        ),
        tau_a=tau_a,
        tau_b=tau_b,
        resamples=drawn,
        missing=tuple(sum(table.missing[run] for table in tables) for run in range(runs)),
    )


def _made_otherwise(compared: ComparedTable, profile: ReadProfile, *, other: bool) -> Iterator[str]:
    for made, group in itertools.groupby(compared.runs, key=lambda run: run.table.profile):
        names = ", ".join(run.name for run in group)
        if not made:
            yield f"{names}: made without a profile"
        elif made["sha256"] != profile.sha256:
            was = f"{made['name']} ({str(made['sha256'])[:SHORT]})"
            if made["name"] == profile.name and not other:
                raise ValueError(
                    f"{names}: made by another version of the profile, {was}, and {profile} is to "
                    f"rank; --allow-different-definitions ranks all the same"
                )
            yield f"{names}: made by {was}"


def _scores(tables: Sequence[RankedValues], weights: Floats, rules: Rules) -> tuple[Floats, Floats]:
    """Weighted mean ranks, and these with equal ones told apart, resamples x runs."""
    ranks = [table.ranks(weights, rules) for table in tables]
    total = sum(table.weight for table in tables)
    known = [np.where(np.isnan(rank), rank.shape[1], rank) for rank in ranks]  # without any: last
    score: Floats = np.sum(
        [table.weight / total * rank for table, rank in zip(tables, known, strict=True)], axis=0
    )
    if not rules.tie_break:
        return score, score
    deciding = [r for t, r in zip(tables, known, strict=True) if t.measure.name == rules.tie_break]
    if not deciding:
        raise ValueError(f"ranking.tie_break: {rules.tie_break} is not ranked")
    place = rankdata(levels(score, slack_of(score, axis=1)), method="min", axis=1)
    runs = score.shape[1]
    order: Floats = place + np.mean(deciding, axis=0) / (2 * runs * runs)
    return score, order


def _drawn(rules: Rules, rows: int, cases: int, runs: int, bootstrap: Bootstrap) -> int:
    if rules.method != "test_then_rank":
        return bootstrap.resamples
    most = _MOST_TESTS // max(1, rows * runs * (runs - 1) // 2)
    return min(bootstrap.resamples, most) if most >= _FEWEST else 0


def _resampled(
    tables: Sequence[RankedValues], rules: Rules, index: NDArray[np.intp], bootstrap: Bootstrap
) -> tuple[Floats, Floats]:
    """Places and orders over cases drawn with replacement, the same ones for every row."""
    runs = tables[0].badness.shape[2]
    places, orders = [np.empty((0, runs))], [np.empty((0, runs))]
    for weights in drawn_weights(index, bootstrap):
        _, order = _scores(tables, weights, rules)
        order = levels(order, slack_of(order, axis=1))
        orders.append(order)
        places.append(rankdata(order, method="min", axis=1))
    return np.concatenate(places), np.concatenate(orders)


def _taus(order: Floats, orders: Floats) -> tuple[float, float]:
    """Kendall's tau a and b between an order and others, on average."""
    if not len(orders):
        return math.nan, math.nan
    i, j = np.triu_indices(len(order), 1)
    here = np.sign(order[j] - order[i])
    agreed, apart = np.zeros(len(orders)), np.zeros(len(orders))
    for start in range(0, len(orders), 256):
        there = np.sign(orders[start : start + 256][:, j] - orders[start : start + 256][:, i])
        agreed[start : start + 256] = there @ here
        apart[start : start + 256] = (there != 0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        b = agreed / np.sqrt(apart * float((here != 0).sum()))
    return float((agreed / len(i)).mean()), float(np.nanmean(b)) if (apart > 0).any() else math.nan
