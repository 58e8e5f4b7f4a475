"""Everything that a study writes when its runs have ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medloss.evaluation.outputs.files import whole_file
from medloss.workbench.study.collect import write_tables
from medloss.workbench.study.conditions import Run
from medloss.workbench.study.folder import RUNS, SUMMARY, TABLES, StudyFolder
from medloss.workbench.study.markdown import markdown
from medloss.workbench.study.report import summary, write_report
from medloss.workbench.study.results import read_results
from medloss.workbench.study.tables import make_tables


def write_all(folder: StudyFolder, runs: Sequence[Run], baseline: str) -> list[Path]:
    """Write the tables, ``summary.json``, ``tables.md`` and the report.

    Where the runs themselves are gone, the two CSV files are taken as they are.

    Args:
        folder: of the study.
        runs: all of them, in the order of the tables.
        baseline: loss that the others are compared with.

    Returns:
        The files.
    """
    written = list(write_tables(folder, runs)) if (folder.path / RUNS).is_dir() else []
    settings = folder.read()
    tables = make_tables(read_results(folder.path), baseline)
    for name, text in ((SUMMARY, summary(tables, settings)), (TABLES, markdown(tables))):
        with whole_file(folder.path / name) as file:
            file.write(text)
        written.append(folder.path / name)
    return [*written, write_report(folder, tables, settings)]
