"""A report on the terminal, in 100 columns."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from medloss.workbench.bench.cells import HEADINGS, notes, row, table_line
from medloss.workbench.bench.results import Contest, Report, Table

WIDTH = 100
_NAME_WIDTH = 30
_MEASURED = {
    "losses": ", forward plus backward",
    "metrics": ", all labels and three metrics",
    "distances": ", all masks",
}


def print_report(console: Console, report: Report) -> None:
    """Print every table, what it refers to, and what is wrong."""
    for table in report.tables:
        print_table(console, table)
    console.print(
        f"ms: median and range of the rounds{_MEASURED[report.suite]}. x floor: against moving the "
        "bytes that any implementation must move at the rate of a copy. x ours: how many times our "
        "time, ratio within each round, median and range. memory: peak beyond what was held "
        f"before, in multiples of the {_unit(report)}. value: ours, and whether the rival's is "
        "equal.",
        style="dim",
    )
    console.print(
        escape("; ".join(f"{name}: {text}" for name, text in report.environment.items())),
        style="dim",
    )
    for sentence in report.wrong:
        console.print(Text(f"Error: {sentence}", style="bold red"))


def print_table(console: Console, table: Table) -> None:
    """Print one table and its notes."""
    console.print(Text(table.title, style="bold"))
    console.print(Text(table_line(table), style="dim"))
    grid = Grid(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for at, heading in enumerate(HEADINGS):
        if at == 0:
            grid.add_column(heading, max_width=_NAME_WIDTH, overflow="fold")
        else:
            grid.add_column(heading, justify="right", no_wrap=True)
    for contest in table.contests:
        _add(grid, table, contest)
    console.print(grid)
    for note in notes(table):
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))
    console.print()


def _add(grid: Grid, table: Table, contest: Contest) -> None:
    grid.add_row(Text(contest.name, style="bold cyan"))
    for entry in contest.entries:
        found = row(table, contest, entry)
        cells = [f"  {found.name}", *found.cells[1:]]
        style = "bold red" if found.bad else "bold" if entry is contest.ours else ""
        grid.add_row(*(Text(cell, style=style) for cell in cells))


def _unit(report: Report) -> str:
    return str(report.tables[0].settings.get("unit", "unit")) if report.tables else "unit"
