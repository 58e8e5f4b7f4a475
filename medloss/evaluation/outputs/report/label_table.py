"""The table of a study: a row for each label, every metric side by side, many labels in groups."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from medloss.evaluation.outputs.names import has_mean
from medloss.evaluation.outputs.report.pictures import judge
from medloss.evaluation.records import WHOLE_CASE, Measure, ResultTable, ScoredLabel, Summary

LEAST = 3
"""Fewer values have no interval, no spread and no box: nothing is known of what others would be."""

MANY_LABELS = 20
"""More labels stand in groups, so that a page can be read."""

_LEAST_IN_GROUP = 4
_LOWEST = 10
_COLUMNS = 7
"""Metrics side by side; more stand in a table of their own below."""


@dataclass(frozen=True)
class LabelRow:
    """A label, or what stands for several.

    Args:
        label: whose values they are.
        lines: of each metric of the table, ``None`` where it is not about the label.
    """

    label: ScoredLabel
    lines: tuple[Summary | None, ...]

    @property
    def any_line(self) -> Summary:
        """One that tells where the label occurs."""
        return next(line for line in self.lines if line is not None)

    def cases(self, *statuses: str) -> int:
        """How many cases have one of these statuses."""
        return sum(self.any_line.statuses.get(status, 0) for status in statuses)

    @property
    def present(self) -> int:
        """Cases whose reference has the label."""
        return self.cases("ok", "missed")

    @property
    def absent(self) -> int:
        """Cases whose reference does not have it."""
        return self.cases("spurious", "both_empty")


@dataclass(frozen=True)
class LabelBlock:
    """Some labels that belong together.

    Args:
        title: what they have in common; empty where all labels are in one block.
        rows: of the labels.
        means: of the labels' means, by metric; ``None`` where a mean says nothing.
        lowest: the row with the worst mean of the metric that judges, where there are many labels.
    """

    title: str
    rows: tuple[LabelRow, ...]
    means: tuple[tuple[float, int] | None, ...]
    lowest: LabelRow | None = None


@dataclass(frozen=True)
class LabelTable:
    """All labels.

    Args:
        measures: metrics of labels, in the order of the columns.
        chunks: places of the metrics that stand side by side.
        blocks: of labels; one where they are few.
        lowest: the labels with the worst means, where there are many.
        no_mean: why there is no mean over labels, or ``""``.
    """

    measures: tuple[Measure, ...]
    chunks: tuple[tuple[int, ...], ...]
    blocks: tuple[LabelBlock, ...]
    lowest: tuple[LabelRow, ...] = ()
    no_mean: str = ""

    @property
    def count(self) -> int:
        """How many labels there are."""
        return sum(len(block.rows) for block in self.blocks)


def label_table(table: ResultTable) -> LabelTable:
    """The labels of a study with the summary of each metric."""
    by_name: dict[str, dict[str, Summary]] = {}
    for line in table.lines:
        if line.key != WHOLE_CASE:
            by_name.setdefault(line.column.name, {})[line.key] = line
    measures = tuple(measure for measure in table.measures if measure.name in by_name)
    rows = tuple(
        LabelRow(label, tuple(by_name[measure.name].get(label.key) for measure in measures))
        for label in table.labels
        if any(label.key in found for found in by_name.values())
    )
    places = range(len(measures))
    chunks = tuple(tuple(places[at : at + _COLUMNS]) for at in places[::_COLUMNS])
    regions = [row for row in rows if row.label.members]
    no_mean = ""
    if regions and (len(regions) < len(rows) or _overlap(regions)):
        no_mean = "regions are made of labels that are counted elsewhere too"
    if len(rows) <= MANY_LABELS:
        return LabelTable(
            measures, chunks, (_block("", rows, measures, not no_mean),), no_mean=no_mean
        )
    order = _worst_first(rows, judge(table))
    blocks = tuple(
        _block(title, group, measures, not no_mean, order) for title, group in _groups(rows)
    )
    return LabelTable(measures, chunks, blocks, tuple(order[:_LOWEST]), no_mean)


def mean_of(line: Summary | None) -> float:
    """The mean of a line; NaN where there is none."""
    return math.nan if line is None else line.mean


def _block(
    title: str,
    rows: Sequence[LabelRow],
    measures: Sequence[Measure],
    means: bool,
    order: Sequence[LabelRow] = (),
) -> LabelBlock:
    found = tuple(
        _mean(rows, place) if means and has_mean(measure) else None
        for place, measure in enumerate(measures)
    )
    return LabelBlock(title, tuple(rows), found, next((x for x in order if x in rows), None))


def _mean(rows: Sequence[LabelRow], place: int) -> tuple[float, int] | None:
    """The mean of the labels' means, and of how many labels it is; ``None`` below two."""
    values = [mean_of(row.lines[place]) for row in rows]
    values = [value for value in values if not math.isnan(value)]
    return (math.fsum(values) / len(values), len(values)) if len(values) > 1 else None


def _worst_first(rows: Sequence[LabelRow], measure: Measure | None) -> list[LabelRow]:
    """Rows that have a value of a metric, the worst first."""
    if measure is None:
        return []
    sign = 1.0 if measure.better == "higher" else -1.0
    valued = []
    for row in rows:
        for line in row.lines:
            if line and line.column.name == measure.name and not math.isnan(line.mean):
                valued.append((sign * line.mean, row))
    return [row for _, row in sorted(valued, key=lambda pair: pair[0])]


def _groups(rows: Sequence[LabelRow]) -> list[tuple[str, list[LabelRow]]]:
    """Rows by the first word of their names; those that share it with few stand together."""
    found: dict[str, list[LabelRow]] = {}
    for row in rows:
        found.setdefault(_first_word(row.label), []).append(row)
    large = {word: group for word, group in found.items() if len(group) >= _LEAST_IN_GROUP and word}
    rest = [row for word, group in found.items() if word not in large for row in group]
    named = sorted(large.items(), key=lambda item: rows.index(item[1][0]))
    if not named:
        return [("All labels", rest)]
    return [*((f"{word} \N{HORIZONTAL ELLIPSIS}", group) for word, group in named)] + (
        [("Other labels", rest)] if rest else []
    )


def _first_word(label: ScoredLabel) -> str:
    """Of a name: ``vertebrae`` of ``vertebrae_L5``, ``rib`` of ``rib_left_1``."""
    name = label.name or ("" if label.key.isdecimal() else label.key)
    return re.split(r"[\s_.\-]+", name.strip(), maxsplit=1)[0].casefold()


def _overlap(regions: Sequence[LabelRow]) -> bool:
    members = [label for row in regions for label in row.label.members]
    return len(set(members)) < len(members)
