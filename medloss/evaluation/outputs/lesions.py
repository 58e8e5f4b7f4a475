"""``lesions.csv``: a line for each lesion of each case, written, and read again."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.lesions import LesionsOfSize, by_size
from medloss.evaluation.records import (
    LesionRow,
    LesionSide,
    LesionSpace,
    LesionStatus,
    ResultTable,
    label_key,
)
from medloss.runtime.files import plain_cell, write_rows

LESIONS = "lesions.csv"
_OF_A_SIZE = (
    *("low_mm3", "high_mm3", "reference", "found", "recall"),
    *("prediction", "right", "precision"),
)
_PLACES = ("x_mm", "y_mm", "z_mm")
_MEASURES = ("dice", "iou", "hausdorff95_mm", "assd_mm")
CSV_COLUMNS = (
    *("case", "label", "name", "side", "lesion", "status", "voxels", "volume_mm3"),
    *(*_PLACES, "space", "partners", *_MEASURES),
)
"""A value that does not exist is an empty cell; the numbers of several partners have spaces."""


def write_lesions(path: Path, table: ResultTable, *, safe: bool = False) -> None:
    """Write the lesions of all cases.

    Args:
        path: of the file.
        table: of the cases.
        safe: texts are escaped that a spreadsheet would run.
    """
    lines = (map(_cell, entry.values()) for entry in lesion_entries(table))
    write_rows(path, (CSV_COLUMNS, *lines), safe=safe)


def lesion_entries(table: ResultTable) -> Iterator[dict[str, Any]]:
    """The lesions of all cases by the columns of the file; a value that does not exist is NaN."""
    for case in table.cases:
        for lesion in case.lesions:
            key = label_key(lesion.label)
            values = [
                *(case.name, key, table.label(key).name, lesion.side, lesion.number),
                *(lesion.status, lesion.voxels, lesion.volume_mm3),
                *(*lesion.centroid_mm, math.nan)[:3],
                *(lesion.space, lesion.partners, *(getattr(lesion, name) for name in _MEASURES)),
            ]
            yield dict(zip(CSV_COLUMNS, values, strict=True))


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if isinstance(value, float) and math.isnan(value) else value


def sizes_of(table: ResultTable) -> list[LesionsOfSize]:
    """Recall and precision by size, in all cases; none where nobody asked for sizes."""
    sizes = table.settings.get("lesions", {}).get("sizes_mm3")
    if not sizes:
        return []
    rows = [lesion for case in table.cases for lesion in case.lesions]
    labels = list(dict.fromkeys(lesion.label for lesion in rows))
    order = {label.key: place for place, label in enumerate(table.labels)}
    return by_size(rows, sorted(labels, key=lambda label: order[label_key(label)]), sizes)


def size_entries(table: ResultTable) -> list[dict[str, Any]]:
    """The same as JSON has it."""
    return [
        {
            "label": each.label,
            "name": table.label(label_key(each.label)).name,
            **{name: getattr(each, name) for name in _OF_A_SIZE},
        }
        for each in sizes_of(table)
    ]


def read_lesions(
    path: Path, labels: Sequence[Label], *, safe: bool
) -> dict[str, tuple[LesionRow, ...]]:
    """The lesions of each case.

    Args:
        path: of the file.
        labels: that were scored.
        safe: whether texts are escaped.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    named = {str(label): label for label in labels}
    found: dict[str, list[LesionRow]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if tuple(reader.fieldnames or ()) != CSV_COLUMNS:
            raise ValueError(f"{path} does not begin with {','.join(CSV_COLUMNS)}")
        try:
            for row in reader:
                if safe:
                    row = {key: plain_cell(cell or "") for key, cell in row.items()}
                found.setdefault(row["case"], []).append(_lesion(row, named))
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} line {reader.line_num} is damaged: {error}") from error
    return {case: tuple(rows) for case, rows in found.items()}


def _lesion(row: Mapping[str, Any], labels: Mapping[str, Label]) -> LesionRow:
    return LesionRow(
        labels[row["label"]],
        _word(row["side"], LesionSide),
        int(row["lesion"]),
        _word(row["status"], LesionStatus),
        int(row["voxels"]),
        float(row["volume_mm3"]),
        tuple(float(row[name]) for name in _PLACES if row[name]),
        _word(row["space"], LesionSpace),
        tuple(map(int, row["partners"].split())),
        **{name: float(row[name] or "nan") for name in _MEASURES},
    )


def _word(cell: str, words: Any) -> Any:
    if cell not in get_args(words):
        raise ValueError(f"expected one of {', '.join(get_args(words))}, got {cell!r}")
    return cell
