"""From values of cases to one line for each label and metric; nothing is dropped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.outputs.statistics import mean_interval
from medloss.evaluation.outputs.ties import slack_of
from medloss.evaluation.records import CaseResult, Result
from medloss.evaluation.score import EvalPlan, plan_labels

NAN = float("nan")


@dataclass(frozen=True)
class Column:
    """What a metric or a loss is called in the tables, and how to read it.

    Args:
        name: with the options that were asked for.
        unit: of its values.
        better: ``"higher"`` or ``"lower"``.
        defaults: the options of a metric that were not asked for, as text.
    """

    name: str
    unit: str
    better: str
    defaults: str = ""


@dataclass(frozen=True)
class Summary:
    """A metric of a label over all cases.

    Args:
        label: ``None`` for the whole case.
        column: metric or loss.
        n: values that the statistics are made of.
        mean: and the others: NaN where ``n`` is 0; infinite where a value is.
        sd: sample standard deviation (n - 1), NaN for fewer than two values or an infinite one.
        q1: lower quartile, between two values as numpy's default; NaN where a value is infinite.
        median: middle value.
        q3: upper quartile.
        minimum: smallest value.
        maximum: largest value.
        worst: the largest where lower is better, else the smallest.
        worst_case: the first case with that value.
        statuses: how many cases have each status; together ``n + not_used``.
        not_used: cases whose value the policies leave out (NaN).
        failed: cases without any value.
        ci_low: lower end of the 95% bootstrap interval of the mean
            (:func:`medloss.evaluation.outputs.statistics.mean_interval`), NaN where there is none.
        ci_high: upper end.
    """

    label: Label | None
    column: Column
    n: int
    mean: float
    sd: float
    q1: float
    median: float
    q3: float
    minimum: float
    maximum: float
    worst: float
    worst_case: str
    statuses: dict[str, int]
    not_used: int
    failed: int
    ci_low: float
    ci_high: float


def columns(plan: EvalPlan) -> tuple[Column, ...]:
    """The metrics, then the losses."""
    metrics = [Column(m.column, m.record.unit, m.record.better, m.defaults) for m in plan.metrics]
    return (*metrics, *(Column(loss.column, "", "lower") for loss in plan.losses))


def summarise(cases: Sequence[CaseResult], plan: EvalPlan) -> tuple[Summary, ...]:
    """One line for each metric and label, then one for each loss.

    Args:
        cases: complete (:func:`medloss.evaluation.score.complete`).
        plan: what was computed.
    """
    found: dict[tuple[Label | None, str], list[tuple[str, Result]]] = {}
    for case in cases:
        for result in case.results:
            found.setdefault((result.label, result.column), []).append((case.pair.name, result))
    failed = sum(bool(case.error) for case in cases)
    labels: tuple[Label | None, ...] = (*plan_labels(cases, plan), None)
    return tuple(
        _summary(label, column, found[label, column.name], failed)
        for column in columns(plan)
        for label in labels
        if (label, column.name) in found
    )


def _summary(
    label: Label | None, column: Column, results: list[tuple[str, Result]], failed: int
) -> Summary:
    used = [(result.value, name) for name, result in results if not math.isnan(result.value)]
    values = np.array([value for value, _ in used])
    # The first of equals, so that the order of the cases decides and not their names.
    pick = max if column.better == "lower" else min
    worst = pick([value for value, _ in used], default=NAN)
    slack = float(slack_of(values))
    worst_case = next((name for x, name in used if x == worst or abs(x - worst) <= slack), "")
    finite = len(values) > 0 and bool(np.isfinite(values).all())
    q1, q3 = (float(q) for q in np.quantile(values, (0.25, 0.75))) if finite else (NAN, NAN)
    ci_low, ci_high = mean_interval(values)
    return Summary(
        label=label,
        column=column,
        n=len(used),
        mean=float(values.mean()) if used else NAN,
        sd=float(values.std(ddof=1)) if finite and len(used) > 1 else NAN,
        q1=q1,
        median=float(np.median(values)) if used else NAN,
        q3=q3,
        minimum=float(values.min()) if used else NAN,
        maximum=float(values.max()) if used else NAN,
        worst=worst,
        worst_case=worst_case,
        statuses=dict(Counter(result.status for _, result in results)),
        not_used=len(results) - len(used),
        failed=failed,
        ci_low=ci_low,
        ci_high=ci_high,
    )
