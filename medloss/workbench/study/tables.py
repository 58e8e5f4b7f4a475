"""Numbers of a study: means with intervals, spread over seeds, tests, ranks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.compare.paired import Decisions, Difference, differences
from medloss.evaluation.compare.ranking import case_ranks, rankings
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.outputs.statistics import BOOTSTRAP, Bootstrap, mean_interval
from medloss.evaluation.records import Measure
from medloss.workbench.study.results import Results, ground_of


@dataclass(frozen=True)
class LossScore:
    """A loss by one metric.

    Args:
        n: cases with a number.
        mean: over the cases, each the mean over seeds and labels.
        ci_low: lower end of the interval of the mean over cases.
        ci_high: upper end.
        seed_sd: standard deviation of that mean from seed to seed; NaN for one seed.
        missed: share of labels of cases that a run missed entirely.
    """

    n: int
    mean: float
    ci_low: float
    ci_high: float
    seed_sd: float
    missed: float


@dataclass(frozen=True)
class LossRow:
    """A loss in the table.

    Args:
        loss: name.
        scores: by metric.
        against: differences from the baseline by metric; empty for the baseline.
        place: by the mean rank over all metrics.
        mean_rank: over all metrics and cases; 1 is best.
        broken: how many runs ended otherwise than well, by status.
        step_seconds: median over the runs.
        step_bytes: median over the runs; NaN where it is not known.
    """

    loss: str
    scores: dict[str, LossScore]
    against: dict[str, Difference]
    place: int
    mean_rank: float
    broken: dict[str, int]
    step_seconds: float
    step_bytes: float


@dataclass(frozen=True)
class Tables:
    """Everything that a report shows in numbers."""

    results: Results
    ground: ComparedTable
    baseline: str
    rows: tuple[LossRow, ...]
    rank_plots: tuple[RankPlot, ...]
    bootstrap: Bootstrap


def make_tables(results: Results, baseline: str, bootstrap: Bootstrap = BOOTSTRAP) -> Tables:
    """Compute the tables.

    Args:
        results: of the study.
        baseline: loss that the others are compared with.
        bootstrap: how intervals are made.

    Raises:
        ValueError: the baseline is no loss of the study.
    """
    if baseline not in results.losses:
        raise ValueError(f"baseline: expected one of {', '.join(results.losses)}, got {baseline!r}")
    ground = ground_of(results)
    seeds = [ground_of(results, [seed]) for seed in results.seeds]
    ranked = rankings(ground, bootstrap) if len(results.losses) > 1 else ()
    decisions = Decisions(bootstrap, missing="leave-out", baseline=baseline)
    against = differences(ground, decisions)
    rows = []
    for number, loss in enumerate(results.losses):
        scores = {
            measure.name: _score(results, measure, number, ground, seeds, bootstrap)
            for measure in results.measures
        }
        rows.append(
            LossRow(
                loss=loss,
                scores=scores,
                against={d.measure.name: d for d in against if d.second == loss},
                place=ranked[0].places[number] if ranked else 1,
                mean_rank=ranked[0].mean_ranks[number] if ranked else 1.0,
                broken=dict(results.broken(loss)),
                step_seconds=_median(results, loss, "step_seconds"),
                step_bytes=_median(results, loss, "step_bytes"),
            )
        )
    rows.sort(key=lambda row: row.place)  # of equals the first of the study stays the first
    return Tables(results, ground, baseline, tuple(rows), tuple(rank_plots(ground)), bootstrap)


def _score(
    results: Results,
    measure: Measure,
    number: int,
    ground: ComparedTable,
    seeds: Sequence[ComparedTable],
    bootstrap: Bootstrap,
) -> LossScore:
    values = _numbers(ground, measure, number)
    interval = mean_interval(np.array(values), bootstrap)
    by_seed = [x for one in seeds if (x := _mean(_numbers(one, measure, number))) == x]
    return LossScore(
        n=len(values),
        mean=_mean(values),
        ci_low=interval.low,
        ci_high=interval.high,
        seed_sd=statistics.stdev(by_seed) if len(by_seed) > 1 else math.nan,
        missed=_missed(results, results.losses[number], measure),
    )


def _numbers(ground: ComparedTable, measure: Measure, number: int) -> list[float]:
    key = ground.labels[0].key, measure.name
    found = [case.values.get(key) for case in ground.runs[number].table.cases]
    return [value.value for value in found if value and value.used]


def _missed(results: Results, loss: str, measure: Measure) -> float:
    found = [
        value.status == "missed"
        for (name, _, _), cases in results.values.items()
        if name == loss
        for values in cases.values()
        for (_, metric), value in values.items()
        if metric == measure.name
    ]
    return sum(found) / len(found) if found else math.nan


def _median(results: Results, loss: str, column: str) -> float:
    found = [x for run in results.of(loss) if (x := run.number(column)) == x]
    return statistics.median(found) if found else math.nan


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


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
