"""The folder of a study: its tables, its journal, and what else was asked for."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from medloss.evaluation.outputs import formats
from medloss.evaluation.outputs.lesions import LESIONS, write_lesions
from medloss.evaluation.outputs.methods import METHOD_FILES, write_methods
from medloss.evaluation.outputs.results import CASES, SUMMARY, write_csv, write_json, written_at
from medloss.evaluation.outputs.subgroups import SUBGROUPS, write_subgroups
from medloss.evaluation.records import ResultTable
from medloss.runtime.files import delete_unfinished, make_folder, write_text
from medloss.work.lock import LOCKS, locked

JOURNAL, REPORT = "journal.jsonl", "report.html"
ERROR_MAPS = "error_maps"
TABLES = {"latex": "summary.tex", "markdown": "summary.md", "parquet": "cases.parquet"}
DEFINITIONS = ("definitions.csv", "definitions.md")
_OWN = (
    *(CASES, SUMMARY, LESIONS, SUBGROUPS, JOURNAL, REPORT),
    *(*TABLES.values(), *DEFINITIONS, *METHOD_FILES),
)


@contextlib.contextmanager
def prepared(folder: Path, *, resume: bool, force: bool) -> Iterator[None]:
    """Make the folder, or make sure that what it holds may be added to or replaced; then hold it.

    Args:
        folder: of the study; its own parent must exist.
        resume: go on with what is there.
        force: delete what an earlier study left there, and nothing else.

    Raises:
        ValueError: it is no folder, cannot be written to, holds something, or another process
            writes to it.
    """
    if resume and force:
        raise ValueError("--resume goes on with a folder and --force begins anew; give one of them")
    make_folder(folder)
    with locked(folder):
        for place in (folder, folder / ERROR_MAPS):
            delete_unfinished(place)
        if force:
            _empty(folder)
        elif any(path.name not in LOCKS for path in folder.iterdir()):
            if not resume:
                raise ValueError(
                    f"{folder} is not empty; --resume goes on with it, --force begins anew"
                )
            if not (folder / JOURNAL).exists():
                raise ValueError(f"{folder} is not empty and holds no {JOURNAL} to go on with")
        yield


def write_tables(
    folder: Path, table: ResultTable, tables: Sequence[str] = (), *, csv_safe: bool = False
) -> list[Path]:
    """Write ``cases.csv``, ``summary.json``, and the lesions and tables that were asked for.

    Args:
        folder: prepared.
        table: with its origin.
        tables: of ``latex``, ``markdown``, ``parquet``.
        csv_safe: ``cases.csv`` is escaped for spreadsheets.

    Returns:
        The files, in the order of writing.
    """
    written = [folder / CASES, folder / SUMMARY]
    write_csv(written[0], [table], safe=csv_safe)
    write_json(written[1], table, csv_safe=csv_safe)
    if "lesions" in table.settings:
        written.append(folder / LESIONS)
        write_lesions(written[-1], table, safe=csv_safe)
    if table.subgroups:
        written.append(folder / SUBGROUPS)
        write_subgroups(written[-1], table, safe=csv_safe)
    written += write_methods(folder, table)
    for kind in tables:
        path = folder / TABLES[kind]
        if kind == "parquet":
            formats.write_parquet(path, table)
        else:
            write_text(path, formats.TEXT[kind](table))
        written.append(path)
    return written


def placed(table: ResultTable, folder: Path) -> ResultTable:
    """The table as it lies in a folder that it was written to."""
    return dataclasses.replace(table, path=folder, written=written_at(folder))


def write_definitions(
    folder: Path, definitions: Sequence[ResultTable], *, csv_safe: bool = False
) -> list[Path]:
    """Write every value by every definition, and a table of the means; the files."""
    from medloss.evaluation.outputs.tables import policies

    written = [folder / name for name in DEFINITIONS]
    write_csv(written[0], definitions, safe=csv_safe)
    write_text(written[1], formats.definitions_markdown(definitions, policies(definitions)))
    return written


def _empty(folder: Path) -> None:
    for name in _OWN:
        (folder / name).unlink(missing_ok=True)
    for pattern in ("*_errors.nii.gz", "*_distances.nii.gz"):
        for path in (folder / ERROR_MAPS).glob(pattern):
            path.unlink()
