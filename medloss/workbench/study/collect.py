"""Two tables of a study: a line for each run, and a line for each value of each case."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medloss.evaluation.outputs.files import whole_file
from medloss.evaluation.outputs.results import CSV_COLUMNS, read_folder, rows
from medloss.workbench.study.conditions import Run
from medloss.workbench.study.folder import CASE_TABLE, RUN_TABLE, SUMMARY, StudyFolder

RUN_COLUMNS = (
    *("loss", "fold", "seed", "status", "epochs", "steps", "cases", "last_loss", "step_seconds"),
    *("step_bytes", "seconds_training", "seconds_scoring", "threads", "device", "message"),
)
CASE_COLUMNS = (
    *("loss", "fold", "seed", "case", "label", "name", "metric", "value", "unit", "status"),
    *("message",),
)
_DIGITS = 6
"""More than any difference between two seeds is worth."""


def write_tables(folder: StudyFolder, runs: Sequence[Run]) -> tuple[Path, Path]:
    """Write ``study.csv`` and ``cases.csv`` from the folders of the runs that have ended.

    Args:
        folder: of the study.
        runs: in the order of the tables.

    Returns:
        The two files.
    """
    paths = folder.path / RUN_TABLE, folder.path / CASE_TABLE
    found = {path.resolve(): facts for path, facts in folder.results()}
    ended = [(run, facts) for run in runs if (facts := found.get(folder.run(run).resolve()))]
    _write(paths[0], RUN_COLUMNS, (facts for _, facts in ended))
    _write(paths[1], CASE_COLUMNS, (row for run, _ in ended for row in _cases(folder, run)))
    return paths


def _cases(folder: StudyFolder, run: Run) -> Iterator[dict[str, Any]]:
    path = folder.run(run) / "evaluation"
    if not (path / SUMMARY).is_file():  # a run that failed has no cases
        return
    own = {"loss": run.loss.name, "fold": run.fold, "seed": run.seed}
    for row in rows(read_folder(path)):
        yield {**dict(zip(CSV_COLUMNS, row, strict=True)), **own}


def _write(path: Path, columns: Sequence[str], rows: Iterator[dict[str, Any]]) -> None:
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            cells = (row.get(name, "") for name in columns)
            writer.writerow("" if cell is None else _cell(cell) for cell in cells)


def _cell(value: Any) -> Any:
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else value
