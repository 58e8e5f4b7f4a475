"""What is known of a case once it is scored: the one record that every output is a view of.

``cases.csv``, ``summary.json`` and the lines of the journal hold these records, and are read back
into them; pages, tables on the terminal and comparisons are made of nothing else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.opened import Opened
from medloss.scoring.counts import Counts

WHOLE_CASE = "all"
"""What the files write where a value is that of no label."""


def label_key(label: Label | None) -> str:
    """A label as the files write it: ``all`` for the whole case."""
    return WHOLE_CASE if label is None else str(label)


@dataclass(frozen=True)
class Result:
    """One value: of a metric for a label, or of a loss for the whole case (label ``None``).

    Args:
        label: of the maps, or a region.
        column: name of the metric or loss.
        value: NaN where the policies leave it out.
        unit: of the value.
        status: where the label occurs.
    """

    label: Label | None
    column: str
    value: float
    unit: str
    status: str

    @property
    def used(self) -> bool:
        """Whether it is a number, infinity included."""
        return not math.isnan(self.value)


@dataclass(frozen=True)
class CaseResult:
    """All values of a case, or the sentence that says why there are none.

    Args:
        pair: the case.
        spacing_mm: voxel size.
        shape: of the reference, in voxels.
        results: by label and metric, then the losses.
        error: why there are none.
        trace: where that was found, for whoever looks for a defect.
        counts: voxels of each label.
        definitions: results by the plan's other presets.
        notes: what was done to this case before it was scored, such as resampling.
        files: every file that it is made of, as it was when it was opened.
    """

    pair: Pair
    spacing_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    results: tuple[Result, ...] = ()
    error: str = ""
    trace: str = ""
    counts: tuple[tuple[Label, Counts], ...] = ()
    definitions: tuple[tuple[str, tuple[Result, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[Opened, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """Of the case."""
        return self.pair.name

    @cached_property
    def values(self) -> Mapping[tuple[str, str], Result]:
        """By the label's key and the name of the metric or loss."""
        return {(label_key(result.label), result.column): result for result in self.results}

    @property
    def voxels(self) -> dict[str, tuple[int, int]]:
        """Of the reference and of the prediction, by the label's key."""
        return {str(label): (each.reference, each.prediction) for label, each in self.counts}

    def to_json(self) -> dict[str, Any]:
        """All but the files. NaN and infinity stay, in Python's spelling.

        Example:
            >>> value = Result(1, "dice", 1.0, "", "ok")
            >>> case = CaseResult(Pair("a", None, None), results=(value,))
            >>> case.to_json()["results"]
            [(1, 'dice', 1.0, '', 'ok')]
            >>> CaseResult.from_json(case.to_json(), case.pair) == case
            True
        """
        return {
            "case": self.name,
            **{name: getattr(self, name) for name in _PLAIN_FIELDS},
            "results": [dataclasses.astuple(result) for result in self.results],
            "counts": [[label, *dataclasses.astuple(counts)] for label, counts in self.counts],
            "definitions": [
                [preset, [dataclasses.astuple(result) for result in results]]
                for preset, results in self.definitions
            ],
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any], pair: Pair) -> CaseResult:
        """What :meth:`to_json` wrote, of the case that ``pair`` is now."""
        plain: dict[str, Any] = {}
        for name in _PLAIN_FIELDS:
            plain[name] = tuple(line[name]) if isinstance(line[name], list) else line[name]
        return cls(
            pair,
            **plain,
            results=tuple(Result(*values) for values in line["results"]),
            counts=tuple((label, Counts(*counts)) for label, *counts in line["counts"]),
            definitions=tuple(
                (preset, tuple(Result(*values) for values in results))
                for preset, results in line["definitions"]
            ),
        )


_PLAIN_FIELDS = tuple(
    each.name
    for each in dataclasses.fields(CaseResult)
    if each.name not in ("pair", "results", "counts", "definitions", "files")
)
