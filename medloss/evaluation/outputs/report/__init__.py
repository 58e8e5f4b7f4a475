"""``report.html``: what an evaluation found, on one page that needs nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.evaluation.inputs.pairing import files_of
from medloss.evaluation.outputs.acceptance import acceptances
from medloss.evaluation.outputs.folder import REPORT
from medloss.evaluation.outputs.names import called, has_mean, plain, readable
from medloss.evaluation.outputs.pages import definitions, render, write_page
from medloss.evaluation.outputs.report.confusion import confusion_figure
from medloss.evaluation.outputs.report.figures import agreements, most_telling, plot, strips
from medloss.evaluation.outputs.report.label_table import LEAST, label_table
from medloss.evaluation.outputs.report.lesion_sizes import lesion_sizes
from medloss.evaluation.outputs.report.opened_case import PictureOptions
from medloss.evaluation.outputs.report.pictures import Gallery, draw_all, judge
from medloss.evaluation.outputs.report.pooled_figures import pooled_figures
from medloss.evaluation.outputs.report.reliability import reliability_figures
from medloss.evaluation.outputs.report.verdict import cases_of, listed, verdict
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.records import WHOLE_CASE, CaseResult, ResultTable, Summary

STATUSES = ("ok", "missed", "spurious", "both_empty", "not_annotated")
WORDS = {status: status.replace("_", " ") for status in (*STATUSES, "failed")}
_MOST_ROWS = 4000
_MOST_NAMED = 12
_MOST_OPEN = 60
_MOST_IN_TITLE = 4


def write_report(
    folder: Path,
    table: ResultTable | None = None,
    *,
    pictures: bool = True,
    options: PictureOptions | None = None,
) -> Path:
    """Write ``report.html`` into an output folder of ``medloss eval``.

    Args:
        folder: with ``cases.csv`` and ``summary.json``.
        table: what lies in it, where that is known; else it is read.
        pictures: show the worst and best cases; reads their files again.
        options: what is wanted of pictures; by default what was when the folder was written.

    Returns:
        The path of the page. The same folder gives the same bytes.

    Raises:
        FolderError: the folder is no such output, or damaged.
        ValueError: a case to scroll through that is not there.
    """
    table = table or read_folder(folder)
    return write_page(folder / REPORT, report_page(table, pictures=pictures, options=options))


def report_page(
    table: ResultTable, *, pictures: bool = True, options: PictureOptions | None = None
) -> str:
    """The page of a table; see :func:`write_report`."""
    gallery = draw_all(table, options or PictureOptions.of(table)) if pictures else None
    scripts = ("viewer.js",) if gallery and gallery.viewer else ()
    return render("report.html", content(table, gallery), scripts=scripts)


@dataclass(frozen=True)
class CaseRow:
    """A line of the table of cases: one label of one case."""

    case: str
    label: str
    status: str
    values: tuple[float | None, ...]
    error: str = ""


@dataclass(frozen=True)
class StatusCases:
    """A label that is missed, spurious or in neither map in some cases."""

    status: str
    label: str
    cases: tuple[str, ...]

    @property
    def named(self) -> tuple[str, ...]:
        """The first of them."""
        return self.cases[:_MOST_NAMED]


def content(table: ResultTable, gallery: Gallery | None) -> dict[str, Any]:
    """Everything that the template shows."""
    found = agreements(table)
    rows, left_out = case_rows(table)
    labels = label_table(table)
    telling = most_telling(tuple(a for a in found if len(a.cases) >= LEAST))
    intervals = any(line.n >= LEAST and not math.isnan(line.ci_low) for line in table.lines)
    return {
        "table": table,
        "title": title_of(table),
        "least": LEAST,
        "verdict": verdict(table, labels),
        "acceptances": acceptances(table),
        "labels": labels,
        "no_means": [called(m) for m in labels.measures if not has_mean(m) or labels.no_mean],
        "has_intervals": intervals,
        "voxel_sizes": voxel_sizes(table),
        "tolerances": tolerances(table),
        "prediction": place(x for case in table.cases for x in files_of(case.pair.prediction)),
        "reference": place(x for case in table.cases for x in files_of(case.pair.reference)),
        "changed": [case for case in table.cases if case.notes],
        "most_named": _MOST_NAMED,
        "most_open": _MOST_OPEN,
        "absences": list(absences(table)),
        "groups": [(m, lines) for m in table.measures if (lines := table.lines_of(m))],
        "shown_statuses": shown_statuses(table.lines),
        "words": WORDS,
        "strips": strips(table),
        "agreements": found,
        "with_limits": sum(len(a.cases) >= LEAST for a in found),
        "plots": [plot(agreement) for agreement in telling],
        "confusion": confusion_figure(table),
        "confusion_columns": [label for label in table.labels if not label.members],
        "lesions": lesion_sizes(table),
        "pooled": pooled_figures(table),
        "reliability": reliability_figures(table),
        "judge": judge(table),
        "gallery": gallery,
        "rows": rows,
        "left_out": left_out,
        "definitions": definitions(table, intervals=intervals),
        "level": level(table),
    }


def title_of(table: ResultTable) -> str:
    """The title that was given, else what was evaluated; never a path.

    Example:
        >>> from medloss.evaluation.inputs.pairing import Pair
        >>> from medloss.evaluation.records import ScoredLabel
        >>> case = CaseResult(Pair("a", None, None))
        >>> title_of(ResultTable((), (ScoredLabel("1", "liver"),), (case,)))
        'Segmentation of liver in 1 case'
    """
    given = str(table.settings.get("title", ""))
    if given:
        return given
    names = [readable(label) for label in table.labels]
    what = f"{len(names)} labels" if len(names) > _MOST_IN_TITLE else listed(names)
    return f"Segmentation{f' of {what}' if what else ''} in {cases_of(len(table.cases))}"


def voxel_sizes(table: ResultTable) -> str:
    """Of all cases, along the axes of their files."""
    found: dict[int, list[tuple[float, ...]]] = {}
    for case in table.cases:
        if case.spacing_mm:
            found.setdefault(len(case.spacing_mm), []).append(case.spacing_mm)
    told = []
    for sizes in found.values():
        ends = [(min(axis), max(axis)) for axis in zip(*sizes, strict=True)]
        told.append(
            " \N{MULTIPLICATION SIGN} ".join(
                f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
                for low, high in ends
            )
            + " mm"
        )
    return ", ".join(told)


def tolerances(table: ResultTable) -> list[tuple[str, str]]:
    """The metrics that have a tolerance, as they are called, and how large it is."""
    found = {}
    for measure in table.measures:
        if "tolerance_mm" in measure.options:
            found[called(measure)] = f"{plain(measure.options['tolerance_mm'])} mm"
    return list(found.items())


def absences(table: ResultTable) -> Iterator[StatusCases]:
    """Where labels are missed, spurious, or in neither map."""
    cases: dict[tuple[str, str], list[str]] = {}
    for case in table.cases:
        for label, status in case.statuses.items():
            cases.setdefault((status, label), []).append(case.name)
    for status in STATUSES[1:]:
        for each in table.labels:
            if (status, each.key) in cases:
                yield StatusCases(status, each.title, tuple(cases[status, each.key]))


def shown_statuses(lines: Sequence[Summary]) -> tuple[str, ...]:
    """The statuses that have a column: those that always matter, and others that occur."""
    return tuple(
        status
        for status in STATUSES[1:]
        if status != "not_annotated" or any(line.statuses.get(status) for line in lines)
    )


def case_rows(table: ResultTable) -> tuple[list[CaseRow], int]:
    """A row for each case and label, and how many of them the page has no room for.

    Where there are too many rows, those with the worst values of :func:`judge` are kept.
    """
    whole = any(line.key == WHOLE_CASE for line in table.lines)
    rows = []
    for case in table.cases:
        if case.error:
            rows.append(CaseRow(case.name, "", "failed", (), case.error))
        rows += [
            CaseRow(case.name, table.label(label).title, status, _values(case, label, table))
            for label, status in case.statuses.items()
        ]
        if whole and not case.error:
            rows.append(CaseRow(case.name, WHOLE_CASE, "ok", _values(case, WHOLE_CASE, table)))
    too_many = len(rows) - _MOST_ROWS
    if too_many <= 0:
        return rows, 0
    measure = judge(table)
    sign = -1.0 if measure and measure.better == "lower" else 1.0
    position = table.measures.index(measure) if measure else 0

    def badness(index: int) -> float:
        row = rows[index]
        if row.error:
            return -math.inf
        value = row.values[position]
        return math.inf if value is None or math.isnan(value) else sign * value

    kept = sorted(sorted(range(len(rows)), key=badness)[:_MOST_ROWS])
    return [rows[index] for index in kept], too_many


def place(paths: Iterable[Path]) -> str:
    """The folder that files lie in, or the file where there is one."""
    given = sorted({str(path) for path in paths})
    if len(given) < 2:
        return given[0] if given else ""
    try:
        return os.path.commonpath(given)
    except ValueError:  # absolute and relative ones, or several drives
        return str(Path(given[0]).parent)


def level(table: ResultTable) -> str:
    """Of the intervals, in percent."""
    return f"{100 * float(table.settings['bootstrap']['level']):g}%"


def _values(case: CaseResult, label: str, table: ResultTable) -> tuple[float | None, ...]:
    """In the order of the metrics; ``None`` for those that are not about this label."""
    found = (case.values.get((label, measure.name)) for measure in table.measures)
    return tuple(value.value if value else None for value in found)
