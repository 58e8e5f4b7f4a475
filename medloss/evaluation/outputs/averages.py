"""Means over several labels, in the order that a profile states: labels first, or cases first.

The two differ as soon as a label is missing from some cases, so that none is right without a name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medloss.evaluation.records import CaseResult, Measure, ResultTable, ScoredLabel


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
            values = [_values(case, labels, measure) for case in scored]
            if any(values):
                found.append(_average(entry, measure, labels, values))
    return tuple(found)


def chosen_labels(
    labels: Sequence[ScoredLabel], names: Sequence[str] | None
) -> tuple[ScoredLabel, ...]:
    """The labels that are called so, by name or number; all of them where none is called.

    Raises:
        ValueError: there is none of that name.
    """
    if names is None:
        return tuple(labels)
    found = []
    for name in names:
        mine = [label for label in labels if name in (label.key, label.name)]
        if not mine:
            has = ", ".join(label.title for label in labels)
            raise ValueError(f"there is no label {name!r}; there are {has or 'none'}")
        found += mine
    return tuple(found)


def _values(
    case: CaseResult, labels: Iterable[ScoredLabel], measure: Measure
) -> dict[str, tuple[float, str]]:
    """Values and statuses of a case, by label."""
    found = ((label.key, case.values.get((label.key, measure.name))) for label in labels)
    return {key: (result.value, result.status) for key, result in found if result is not None}


def _average(
    entry: Mapping[str, Any],
    measure: Measure,
    labels: tuple[ScoredLabel, ...],
    values: Sequence[Mapping[str, tuple[float, str]]],
) -> Average:
    name, keeps = str(entry["name"]), entry.get("undefined") == "keep"
    columns = [[each[label.key][0] for each in values if label.key in each] for label in labels]
    if entry.get("first", "cases") == "labels":
        rows = [_mean(value for value, _ in each.values()) for each in values]
        told = "of the labels of each case, then of the cases"
        parts = rows
        value = _mean(rows)
    else:
        parts = [value for column in columns for value in column]
        means = [_mean(column) for column in columns]
        told = "of the cases of each label, then of the labels"
        undefined = keeps and any(map(math.isnan, means))
        value = math.nan if undefined else _mean(means)
        told += ", undefined where one of them is" if keeps else ""
    n = sum(any(not math.isnan(value) for value, _ in each.values()) for each in values)
    return Average(name, measure, labels, value, n if parts else 0, f"mean {told}")


def _mean(values: Iterable[float]) -> float:
    """Of the numbers; NaN where there are none."""
    known = list(_known(values))
    return sum(known) / len(known) if known else math.nan


def _known(values: Iterable[float]) -> Iterator[float]:
    yield from (value for value in values if not math.isnan(value))
