"""``medloss report``: the page of a study, made again."""

from __future__ import annotations

from pathlib import Path

import click

from medloss.cli.terminal import say


@click.command("report", short_help="Write report.html into an output folder of eval.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help="Show the worst and best cases, whose files are read again.  [default: pictures]",
)
def report_command(folder: Path, pictures: bool) -> None:
    """Write report.html into FOLDER, an output folder of 'medloss eval --output'.

    The page is made of what lies in the folder, and is written again if it exists. Files of
    pictures are looked for where the study found them, from the current folder on.

    Exit code: 0 when the page is written, 2 for a folder that is no such output.
    """
    from medloss.evaluation.outputs.report import write_report
    from medloss.evaluation.outputs.results import FolderError

    try:
        path = write_report(folder, pictures=pictures)
    except FolderError as error:
        raise click.UsageError(str(error)) from error
    say(f"Wrote {path}.")
