"""``medloss report``: the page of a study, made again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from medloss.cli.eval_outputs import TITLE
from medloss.cli.eval_pictures import ImageOptions, picture_options
from medloss.cli.options import usage_errors
from medloss.cli.terminal import say


@click.command("report", short_help="Write report.html into an output folder of eval.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help="Show the worst and best cases, whose files are read again.  [default: pictures]",
)
@TITLE
@picture_options
def report_command(folder: Path, pictures: bool, title: str | None, shown: ImageOptions) -> None:
    """Write report.html into FOLDER, an output folder of 'medloss eval --output'.

    The page is made of what lies in the folder, and is written again if it exists. Files of
    pictures are looked for where the study found them, from the current folder on. What pictures
    show is as the study was told, and so is the title, unless it is said here.

    Exit code: 0 when the page is written, 2 for a folder that is no such output.
    """
    from medloss.evaluation.outputs.report import write_report
    from medloss.evaluation.outputs.results import read_folder

    with usage_errors():
        table = read_folder(folder)
        shown.check([case.pair for case in table.cases], report=pictures)
        pairs = shown.find(tuple(case.pair for case in table.cases))
        cases = (
            dataclasses.replace(case, pair=pair)
            for case, pair in zip(table.cases, pairs, strict=True)
        )
        said = {} if title is None else {"title": title}
        settings = {**table.settings, **said}
        table = dataclasses.replace(table, cases=tuple(cases), settings=settings)
        path = write_report(folder, table, pictures=pictures, options=shown.chosen(table))
    say(f"Wrote {path}.")
