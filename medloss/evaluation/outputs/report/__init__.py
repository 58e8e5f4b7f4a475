"""``report.html``: what a study found, on one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path

NAME = "report.html"


def write_report(folder: Path, *, pictures: bool = True) -> Path:
    """Write ``report.html`` into an output folder of ``medloss eval``, from what lies in it.

    Args:
        folder: with ``cases.csv`` and ``summary.json``.
        pictures: show the worst and best cases; reads their files again.

    Returns:
        The path of the page. The same folder gives the same bytes.

    Raises:
        FolderError: the folder is no such output, or damaged.
    """
    from medloss.evaluation.outputs.folder import read_folder
    from medloss.evaluation.outputs.pages import render, write_page
    from medloss.evaluation.outputs.report.content import content

    return write_page(
        folder / NAME, render("report.html", content(read_folder(folder), pictures=pictures))
    )
