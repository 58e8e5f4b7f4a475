"""What a challenge ranks: values of metrics and labels, and the ranks that they lead to."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from medloss.evaluation.compare.challenge_rules import Rules
from medloss.evaluation.compare.ranking import known_mean
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.compare.significance import significance
from medloss.evaluation.outputs.statistics import levels, slack_of
from medloss.evaluation.records import Measure, Result, ScoredLabel

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RankedValues:
    """Values of a row before anything is ranked.

    Args:
        title: and the others: see :class:`Row`.
        badness: labels x cases x runs, smaller is better; NaN where a case is left out.
        sign: from badness to values.
        missing: how often a run had no value.
        firsts: cases x runs, where a run rightly found nothing.
    """

    title: str
    measure: Measure
    labels: tuple[ScoredLabel, ...]
    weight: float
    badness: Floats
    sign: float
    missing: tuple[int, ...]
    firsts: NDArray[np.bool_]

    @property
    def cases(self) -> Floats:
        """Mean of the labels of each case."""
        return known_mean(self.badness, 0)

    @property
    def better(self) -> Floats:
        """One-sided tests of all pairs."""
        return significance(self.cases)

    def aggregate(self, weights: Floats, rules: Rules) -> Floats:
        """Badness over cases that are drawn so often, resamples x runs."""
        if rules.label_mean == "of_all_cases":
            parts = [_over_cases(each, weights, rules.aggregate) for each in self.badness]
            return known_mean(np.stack(parts), 0)
        return _over_cases(self.cases, weights, rules.aggregate)

    def ranks(self, weights: Floats, rules: Rules) -> Floats:
        """Ranks over cases that are drawn so often, resamples x runs."""
        if rules.method == "rank_then_aggregate":
            return _over_cases(self._case_ranks(rules), weights, rules.aggregate)
        if rules.method == "aggregate_then_rank":
            return ranks_of(self.aggregate(weights, rules), rules.ties)
        wins = []
        for row in weights:
            drawn = np.repeat(self.cases, row.astype(np.intp), axis=0)
            wins.append((significance(drawn) < rules.level).sum(axis=1))
        return ranks_of(-np.array(wins, np.float64), rules.ties)

    def _case_ranks(self, rules: Rules) -> Floats:
        badness = np.where(self.firsts, -math.inf, self.cases)
        found = ranks_of(badness, rules.ties)
        found[np.isnan(badness)] = math.nan
        found[(self.firsts | np.isnan(badness)).all(axis=1)] = math.nan  # nobody has a number
        return found


def ranked_values(compared: ComparedTable, rules: Rules) -> Iterator[RankedValues]:
    """What is ranked, in the order of the comparison."""
    asked = [_target(text) for text in rules.metrics]
    chosen = []
    used: set[tuple[str, str]] = set()
    for label, measure, values in compared.grid():
        fitting = [(m, where) for m, where in asked if m == measure.name and _is(label, where)]
        named = any(where for _, where in fitting)
        in_labels = not rules.labels or any(_is(label, name) for name in rules.labels)
        if (fitting or not asked) and (named or in_labels):
            specific = any(where for m, where in asked if m == measure.name)
            if not specific or named:
                used |= set(fitting)
                chosen.append((label, measure, values))
    for metric, where in asked:
        if (metric, where) not in used:
            of = f"[{where}]" if where else f" of {', '.join(rules.labels)}" if rules.labels else ""
            raise ValueError(f"ranking.metrics: the runs have no {metric}{of}")
    if not rules.label_mean:
        groups = [[each] for each in chosen]
    else:
        by = itertools.groupby(chosen, key=lambda each: each[1].name)
        groups = [list(group) for _, group in by]
    for group in groups:
        yield _together(group, rules)


def _target(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)\[([^\[\]=]+)\]", text)
    return (match[1], match[2]) if match else (text, "")


def _is(label: ScoredLabel, name: str) -> bool:
    return name in ("", label.key, label.name)


def _together(
    group: Sequence[tuple[ScoredLabel, Measure, list[list[Result | None]]]], rules: Rules
) -> RankedValues:
    measure = group[0][1]
    sign = -1.0 if measure.better == "higher" else 1.0
    own = rules.penalties.get(measure.name)
    stack, lost, firsts = [], [], []
    for _, _, values in group:
        known = np.array([[bool(x and x.used) for x in run] for run in values]).T
        empty = np.array([[bool(x and x.status == "both_empty") for x in run] for run in values]).T
        badness = np.array(
            [[sign * x.value if x and x.used else math.nan for x in run] for run in values]
        ).T
        gone = ~known & ~empty
        lost.append(gone.sum(axis=0))
        firsts.append(~known & empty)
        if rules.missing == "worst" and gone.any():
            seen = badness[known]
            worst = seen.max() if seen.size else math.inf
            badness[gone] = worst if own is None else sign * own
        stack.append(badness)
    labels = tuple(label for label, _, _ in group)
    title = measure.title if len(group) > 1 else f"{measure.title}, {labels[0].title}"
    weights = rules.weights.get("labels", {})
    label_weight = next(
        (float(x) for name, x in weights.items() if len(group) == 1 and _is(labels[0], name)), 1.0
    )
    return RankedValues(
        title,
        measure,
        labels,
        label_weight * float(rules.weights.get("metrics", {}).get(measure.name, 1.0)),
        np.stack(stack),
        sign,
        tuple(np.sum(lost, axis=0).tolist()),
        np.all(firsts, axis=0),
    )


def _over_cases(values: Floats, weights: Floats, how: str) -> Floats:
    """Mean or median of the known values of cases that count so often, resamples x runs."""
    known = ~np.isnan(values)
    count = weights @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        if how == "mean":
            finite = np.where(np.isfinite(values), values, 0.0)
            total = weights @ finite
            for end in (math.inf, -math.inf):
                total = np.where(weights @ (values == end) > 0, end, total)
            mean: Floats = total / count
            return np.where(count > 0, mean, math.nan)
    order = np.argsort(values, axis=0)  # NaN last
    found = np.full(count.shape, math.nan)
    for run in range(values.shape[1]):
        ordered = values[order[:, run], run]
        reached = np.cumsum(weights[:, order[:, run]] * known[order[:, run], run], axis=1)
        middle = [
            (reached > position[:, None]).argmax(axis=1)
            for position in ((count[:, run] - 1) // 2, count[:, run] // 2)
        ]
        found[:, run] = (ordered[middle[0]] + ordered[middle[1]]) / 2
    return np.where(count > 0, found, math.nan)


def ranks_of(badness: Floats, ties: str) -> Floats:
    """Ranks along the last axis; what is unknown comes last."""
    filled = np.where(np.isnan(badness), math.inf, badness)
    method = "average" if ties == "mean" else "min"
    found: Floats = rankdata(levels(filled, slack_of(filled, axis=1)), method=method, axis=1)
    return found.astype(np.float64)
