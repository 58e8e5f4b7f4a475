"""Means over several labels, in the order that a profile states: labels first, or cases first.

The two differ as soon as a label is missing from some cases, so that none is right without a name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medloss.evaluation.records import CaseResult, Measure, ResultTable, ScoredLabel
from medloss.objects.spacing import at_least


@dataclass(frozen=True)
class Average:
    """One number of a metric over several labels and all cases.

    Args:
        name: as the profile has it.
        measure: of the values.
        labels: over which it goes.
        value: NaN where it is undefined.
        n: cases that have a part in it.
        rule: how it is made, in words, without an end.
    """

    name: str
    measure: Measure
    labels: tuple[ScoredLabel, ...]
    value: float
    n: int
    rule: str

    def to_json(self) -> dict[str, Any]:
        """As ``summary.json`` has it."""
        return {
            "name": self.name,
            "metric": self.measure.name,
            "labels": [label.key for label in self.labels],
            "value": self.value,
            "n": self.n,
            "rule": self.rule,
        }


def averages(table: ResultTable) -> tuple[Average, ...]:
    """Those that the profile asks for by which the table was made."""
    found: list[Average] = []
    for entry in table.profile.get("content", {}).get("averages", ()):
        labels = chosen_labels(table.labels, entry.get("labels"))
        scored = [case for case in table.cases if not case.error]
        for measure in table.measures:
            if measure.name in entry.get("metrics", (measure.name,)):
                values = [_values(case, labels, measure) for case in scored]
                if any(values):
                    found.append(_average(entry, measure, labels, values))
    return tuple(found)


def chosen_labels(
    labels: Sequence[ScoredLabel], names: Sequence[str] | None
) -> tuple[ScoredLabel, ...]:
    """The labels that are called so, by name or number; all of them where none is called."""
    if names is None:
        return tuple(labels)
    return tuple(label for name in names for label in labels if name in (label.key, label.name))


_Values = Mapping[str, tuple[float, str]]
"""Value and status in a case, by label."""


def _values(case: CaseResult, labels: Iterable[ScoredLabel], measure: Measure) -> _Values:
    found = ((label.key, case.values.get((label.key, measure.name))) for label in labels)
    return {key: (result.value, result.status) for key, result in found if result is not None}


def _average(
    entry: Mapping[str, Any],
    measure: Measure,
    labels: tuple[ScoredLabel, ...],
    values: Sequence[_Values],
) -> Average:
    name, keeps = str(entry["name"]), entry.get("undefined") == "keep"
    if "detected_from" in entry:
        limit = float(entry["detected_from"])
        scores = [_detection_f1([x[y.key] for x in values if y.key in x], limit) for y in labels]
        rule = f"F1 of finding a label, by {measure.name} from {limit:g} on, mean of the labels"
        return Average(name, measure, labels, _mean(scores), len(values), rule)
    if entry.get("absent") == "skip":
        values = [{k: x for k, x in each.items() if x[1] != "both_empty"} for each in values]
    if entry.get("first", "cases") == "labels":
        value = _mean(_mean(found for found, _ in each.values()) for each in values)
        rule = "mean of the labels of each case, then of the cases"
    else:
        means = [_mean(x[label.key][0] for x in values if label.key in x) for label in labels]
        value = math.nan if keeps and any(map(math.isnan, means)) else _mean(means)
        rule = "mean of the cases of each label, then of the labels"
        rule += ", undefined where one of them is" if keeps else ""
    if entry.get("absent") == "skip":
        rule += ", without labels that are in neither map"
    n = sum(any(not math.isnan(found) for found, _ in each.values()) for each in values)
    return Average(name, measure, labels, value, n, rule)


def _detection_f1(found: Sequence[tuple[float, str]], limit: float) -> float:
    """2 TP / (2 TP + FP + FN) over cases; 0 for a label that no case has."""
    hits = sum(status == "ok" and at_least(value, limit) for value, status in found)
    wrong = sum(status == "spurious" for _, status in found)
    lost = sum(status in ("ok", "missed") for _, status in found) - hits
    return 2 * hits / (2 * hits + wrong + lost) if hits + wrong + lost else 0.0


def _mean(values: Iterable[float]) -> float:
    """Of the numbers; NaN where there are none."""
    known = list(_known(values))
    return sum(known) / len(known) if known else math.nan


def _known(values: Iterable[float]) -> Iterator[float]:
    yield from (value for value in values if not math.isnan(value))
