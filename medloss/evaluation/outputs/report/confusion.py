"""Which label is taken for which, in all cases together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from medloss.evaluation.outputs.report.label_table import MANY_LABELS
from medloss.evaluation.records import ResultTable, ScoredLabel, label_key

_MOST_EXCHANGES = 12
_LEAST_SHARE = 0.0005
"""Less of a label is not named: it would be shown as 0.0%."""


@dataclass(frozen=True)
class Exchange:
    """Voxels of a label that the prediction gives another one.

    Args:
        label: of the reference.
        predicted: of the prediction.
        voxels: in all cases.
        share: of the voxels that the reference gives the label.
        cases: in how many it occurs.
    """

    label: ScoredLabel
    predicted: ScoredLabel
    voxels: int
    share: float
    cases: int


@dataclass(frozen=True)
class MatrixRow:
    """A label of the reference: what share of its voxels gets each label, and none of them."""

    label: ScoredLabel
    voxels: int
    shares: tuple[float, ...]
    none: float


@dataclass(frozen=True)
class ConfusionFigure:
    """What is shown.

    Args:
        exchanges: the largest shares, without voxels that get no label.
        more: how many are not shown.
        matrix: a row for each label that any reference has; none where they are many.
        cases: that have such counts.
    """

    exchanges: tuple[Exchange, ...]
    more: int
    matrix: tuple[MatrixRow, ...]
    cases: int


def confusion_figure(table: ResultTable) -> ConfusionFigure | None:
    """Sums over all cases; ``None`` where no case has such counts."""
    cases = [case for case in table.cases if case.confusion]
    if not cases:
        return None
    voxels: Counter[tuple[str, str]] = Counter()
    where: Counter[tuple[str, str]] = Counter()
    reference: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for case in cases:
        for row in case.confusion:
            for predicted, many in zip(row.predicted, row.voxels, strict=True):
                pair = label_key(row.label), label_key(predicted)
                voxels[pair] += many
                where[pair] += 1
        for own, counts in case.counts:
            reference[label_key(own)] += counts.reference
            right[label_key(own)] += counts.tp
    labels = [label for label in table.labels if not label.members]
    found = [
        Exchange(table.label(row), table.label(column), many, share, where[row, column])
        for (row, column), many in voxels.items()
        if row and column and (share := many / reference[row]) >= _LEAST_SHARE
    ]
    found.sort(key=lambda each: (-each.share, each.label.key, each.predicted.key))
    matrix = []
    if len(labels) <= MANY_LABELS:
        for label in labels:
            if of := reference[label.key]:
                shares = [
                    (right[label.key] if other is label else voxels[label.key, other.key]) / of
                    for other in labels
                ]
                none = voxels[label.key, ""] / of
                matrix.append(MatrixRow(label, of, tuple(shares), none))
    return ConfusionFigure(
        tuple(found[:_MOST_EXCHANGES]),
        max(0, len(found) - _MOST_EXCHANGES),
        tuple(matrix),
        len(cases),
    )
