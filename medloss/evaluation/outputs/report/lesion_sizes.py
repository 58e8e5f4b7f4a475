"""How many lesions of each size were found, in all cases together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medloss.evaluation.lesions import LesionsOfSize, by_size
from medloss.evaluation.outputs.lesions import sizes_of
from medloss.evaluation.records import LesionRow, ResultTable, ScoredLabel, label_key

_DECADES = (1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0)


@dataclass(frozen=True)
class LesionSizes:
    """A label.

    Args:
        label: that the lesions are of.
        sizes: from the smallest to the largest, without those that have no lesion; none where there
            is one size only, which is all of them.
        total: all sizes together.
        unit: of their volumes.
        cases: with a lesion on either side.
    """

    label: ScoredLabel
    sizes: tuple[LesionsOfSize, ...]
    total: LesionsOfSize
    unit: str
    cases: int


def lesion_sizes(table: ResultTable) -> tuple[LesionSizes, ...]:
    """A record for each label that has lesions; sizes are those asked for, else powers of ten."""
    rows = [lesion for case in table.cases for lesion in case.lesions]
    if not rows:
        return ()
    flat = all(len(case.spacing_mm) == 2 for case in table.cases if case.lesions)
    labels = list(dict.fromkeys(lesion.label for lesion in rows))
    every = sizes_of(table) or by_size(rows, labels, _edges(rows))
    found = []
    for total in by_size(rows, labels, ()):
        own = [each for each in every if each.label == total.label]
        filled = [each for each in own if each.reference or each.prediction]
        if len(own) == 1:
            filled = []
        cases = sum(any(x.label == total.label for x in case.lesions) for case in table.cases)
        label = table.label(label_key(total.label))
        found.append(LesionSizes(label, tuple(filled), total, "mm²" if flat else "mm³", cases))
    return tuple(found)


def _edges(rows: Sequence[LesionRow]) -> list[float]:
    volumes = [row.volume_mm3 for row in rows]
    return [edge for edge in _DECADES if min(volumes) < edge <= max(volumes)]
