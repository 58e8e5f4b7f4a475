"""Numbers of a study: means with intervals, spread over seeds, tests against a baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medloss.evaluation.compare.paired import Difference, difference, holm
from medloss.evaluation.compare.ranking import Ranking, rankings
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.outputs.statistics import BOOTSTRAP, Bootstrap, mean_interval
from medloss.evaluation.records import Measure
from medloss.workbench.study.results import Results, ground_of


@dataclass(frozen=True)
class Score:
    """A loss by one metric.

    Args:
        n: cases with a number.
        mean: over the cases, each the mean over seeds and labels.
        ci_low: lower end of the bootstrap interval over cases.
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
class Row:
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
    scores: dict[str, Score]
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
    rows: tuple[Row, ...]
    rankings: tuple[Ranking, ...]
    bootstrap: Bootstrap


def make_tables(results: Results, baseline: str, bootstrap: Bootstrap = BOOTSTRAP) -> Tables:
    """Compute the tables.

    Args:
        results: of the study.
        baseline: loss that the others are ground with.
        bootstrap: how intervals are made.

    Raises:
        ValueError: the baseline is no loss of the study.
    """
    if baseline not in results.losses:
        raise ValueError(f"baseline: expected one of {', '.join(results.losses)}, got {baseline!r}")
    ground = ground_of(results)
    seeds = [ground_of(results, [seed]) for seed in results.seeds]
    ranked = rankings(ground, bootstrap) if len(results.losses) > 1 else ()
    against = _against(ground, baseline, bootstrap)
    rows = []
    for number, loss in enumerate(results.losses):
        scores = {
            measure.name: _score(results, measure, number, ground, seeds, bootstrap)
            for measure in results.measures
        }
        rows.append(
            Row(
                loss=loss,
                scores=scores,
                against={m: d for (name, m), d in against.items() if name == loss},
                place=ranked[0].places[number] if ranked else 1,
                mean_rank=ranked[0].mean_ranks[number] if ranked else 1.0,
                broken=dict(results.broken(loss)),
                step_seconds=_median(results, loss, "step_seconds"),
                step_bytes=_median(results, loss, "step_bytes"),
            )
        )
    rows.sort(key=lambda row: row.place)  # of equals the first of the study stays the first
    return Tables(results, ground, baseline, tuple(rows), tuple(ranked), bootstrap)


def _score(
    results: Results,
    measure: Measure,
    number: int,
    ground: ComparedTable,
    seeds: Sequence[ComparedTable],
    bootstrap: Bootstrap,
) -> Score:
    values = _numbers(ground, measure, number)
    low, high = mean_interval(np.array(values), bootstrap)
    by_seed = [x for one in seeds if (x := _mean(_numbers(one, measure, number))) == x]
    return Score(
        n=len(values),
        mean=_mean(values),
        ci_low=low,
        ci_high=high,
        seed_sd=statistics.stdev(by_seed) if len(by_seed) > 1 else math.nan,
        missed=_missed(results, results.losses[number], measure),
    )


def _numbers(ground: ComparedTable, measure: Measure, number: int) -> list[float]:
    key = ground.labels[0].key, measure.name
    found = [case.values.get(key) for case in ground.runs[number].table.cases]
    return [value.value for value in found if value and value.used]


def _against(
    ground: ComparedTable, baseline: str, bootstrap: Bootstrap
) -> dict[tuple[str, str], Difference]:
    """Every loss minus the baseline, for every metric; Holm's rule over all of them."""
    names = [run.name for run in ground.runs]
    base = names.index(baseline)
    found: dict[tuple[str, str], Difference] = {}
    for label, measure, values in ground.grid():
        for number, name in enumerate(names):
            if number != base:
                pair = values[base], values[number]
                found[name, measure.name] = difference(
                    label, measure, (baseline, name), pair, bootstrap
                )
    adjusted = holm([each.p for each in found.values()])
    return {
        key: replace(each, p_holm=p) for (key, each), p in zip(found.items(), adjusted, strict=True)
    }


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
