"""What the report says, as plain records for its template."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.evaluation.outputs.folder import Folder, FolderCase, Line, Measure
from medloss.evaluation.outputs.pages.definitions import definitions
from medloss.evaluation.outputs.report.bland_altman import agreements, most_telling, plot
from medloss.evaluation.outputs.report.pictures import choose, draw, judge
from medloss.evaluation.outputs.report.strips import strips

STATUSES = ("ok", "missed", "spurious", "both_empty", "not_annotated")
WORDS = {
    "ok": "ok",
    "missed": "missed",
    "spurious": "spurious",
    "both_empty": "both empty",
    "not_annotated": "not annotated",
    "failed": "failed",
}
_MOST_ROWS = 4000
_MOST_NAMED = 12


@dataclass(frozen=True)
class CaseRow:
    """A line of the table of cases: one label of one case."""

    case: str
    label: str
    status: str
    values: tuple[float | None, ...]
    error: str = ""


@dataclass(frozen=True)
class Finding:
    """A label that is missed, spurious or in neither map in some cases."""

    status: str
    label: str
    cases: tuple[str, ...]

    @property
    def named(self) -> tuple[str, ...]:
        """The first of them."""
        return self.cases[:_MOST_NAMED]


def content(folder: Folder, *, pictures: bool) -> dict[str, Any]:
    """Everything that the template shows."""
    worst, best = choose(folder) if pictures else ([], [])
    found = agreements(folder)
    rows, left_out = case_rows(folder)
    return {
        "folder": folder,
        "prediction": place(case.prediction for case in folder.cases),
        "reference": place(case.reference for case in folder.cases),
        "failed": [case for case in folder.cases if case.error],
        "changed": [case for case in folder.cases if case.notes],
        "most_named": _MOST_NAMED,
        "findings": list(findings(folder)),
        "totals": totals(folder),
        "groups": groups(folder),
        "shown_statuses": shown_statuses(folder.lines),
        "words": WORDS,
        "strips": strips(folder),
        "agreements": found,
        "plots": [plot(agreement) for agreement in most_telling(found)],
        "judge": judge(folder),
        "galleries": [
            ("Worst", [draw(choice, folder) for choice in worst]),
            ("Best", [draw(choice, folder) for choice in best]),
        ],
        "pictures": pictures,
        "rows": rows,
        "left_out": left_out,
        "definitions": definitions(folder),
        "level": level(folder),
    }


def totals(folder: Folder) -> list[tuple[str, int, str]]:
    """What happened how often: a word, a number, and the status that it is about."""
    counts: Counter[str] = Counter()
    for case in folder.cases:
        counts.update(status for _, status in statuses(case))
    good = sum(not case.error for case in folder.cases)
    failed = len(folder.cases) - good
    return [
        ("cases", len(folder.cases), ""),
        ("scored", good, ""),
        ("failed", failed, "failed"),
        ("labels missed", counts["missed"], "missed"),
        ("labels spurious", counts["spurious"], "spurious"),
        ("labels both empty", counts["both_empty"], "both_empty"),
    ]


def statuses(case: FolderCase) -> list[tuple[str, str]]:
    """Label and status, once for each label."""
    found: dict[str, str] = {}
    for (label, _), value in case.values.items():
        if label != "all":
            found.setdefault(label, value.status)
    return list(found.items())


def findings(folder: Folder) -> Iterator[Finding]:
    """Where labels are missed, spurious, or in neither map."""
    cases: dict[tuple[str, str], list[str]] = {}
    for case in folder.cases:
        for label, status in statuses(case):
            cases.setdefault((status, label), []).append(case.name)
    for status in STATUSES[1:]:
        for each in folder.labels:
            if (status, each.key) in cases:
                yield Finding(status, each.title, tuple(cases[status, each.key]))


def groups(folder: Folder) -> list[tuple[Measure, list[Line]]]:
    """The lines of the summary, metric by metric."""
    return [
        (measure, lines)
        for measure in folder.measures
        if (lines := [line for line in folder.lines if line.measure == measure.name])
    ]


def shown_statuses(lines: Sequence[Line]) -> tuple[str, ...]:
    """The statuses that have a column: those that always matter, and others that occur."""
    return tuple(
        status
        for status in STATUSES[1:]
        if status != "not_annotated" or any(line.statuses.get(status) for line in lines)
    )


def case_rows(folder: Folder) -> tuple[list[CaseRow], int]:
    """A row for each case and label, and how many of them the page has no room for.

    Where there are too many rows, those with the worst values of :func:`judge` are kept.
    """
    whole = any(line.label == "all" for line in folder.lines)
    rows = []
    for case in folder.cases:
        if case.error:
            rows.append(CaseRow(case.name, "", "failed", (), case.error))
        rows += [
            CaseRow(case.name, folder.label(label).title, status, _values(case, label, folder))
            for label, status in statuses(case)
        ]
        if whole and not case.error:
            rows.append(CaseRow(case.name, "all", "ok", _values(case, "all", folder)))
    too_many = len(rows) - _MOST_ROWS
    if too_many <= 0:
        return rows, 0
    measure = judge(folder)
    sign = -1.0 if measure and measure.better == "lower" else 1.0
    position = folder.measures.index(measure) if measure else 0

    def badness(index: int) -> float:
        row = rows[index]
        if row.error:
            return -math.inf
        value = row.values[position]
        return math.inf if value is None or math.isnan(value) else sign * value

    kept = sorted(sorted(range(len(rows)), key=badness)[:_MOST_ROWS])
    return [rows[index] for index in kept], too_many


def place(paths: Iterator[str | None]) -> str:
    """The folder that files lie in, or the file where there is one."""
    given = sorted({str(Path(path)) for path in paths if path})
    if len(given) < 2:
        return given[0] if given else ""
    try:
        return os.path.commonpath(given)
    except ValueError:  # absolute and relative ones, or several drives
        return str(Path(given[0]).parent)


def level(folder: Folder) -> str:
    """Of the intervals, in percent."""
    return f"{100 * float(folder.settings['bootstrap']['level']):g}%"


def _values(case: FolderCase, label: str, folder: Folder) -> tuple[float | None, ...]:
    """In the order of the metrics; ``None`` for those that are not about this label."""
    found = (case.values.get((label, measure.name)) for measure in folder.measures)
    return tuple(value.value if value else None for value in found)
