"""A report to read: on the terminal in 100 columns, and as Markdown, with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from medloss.workbench.bench.results import BenchReport, Contest, Entry, Spread, Table, spread

NONE = "-"
WIDTH = 100
_NAME_WIDTH = 30
_MEASURED = {
    "losses": ", forward plus backward",
    "metrics": ", all labels and three metrics",
    "distances": ", all masks",
}


HEADINGS = ("", "ms", "range", "x floor", "x ours", "range", "memory", "value")


def cells(table: Table, contest: Contest, entry: Entry) -> tuple[str, ...]:
    """The entry in this contest of the table, in the order of :data:`HEADINGS`."""
    is_ours = entry is contest.ours
    ms = _scaled(spread(entry.wall_s), 1000)
    slower = None if is_ours else contest.slower(entry)
    floors, memory = table.floors(contest, entry), contest.memory(entry)
    return (
        entry.name,
        *_spread(ms),
        NONE if floors is None else number(floors),
        *_spread(slower),
        NONE if memory is None else f"{memory:.2f}",
        _value(entry, is_ours=is_ours),
    )


def number(value: float) -> str:
    """Three digits that count, never an exponent.

    Example:
        >>> number(0.0321), number(4.318), number(52.13), number(1234.5)
        ('0.032', '4.32', '52.1', '1234')
    """
    if value < 1:
        return f"{value:.3f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def table_line(table: Table) -> str:
    """What the multiples of a table refer to."""
    parts = []
    if table.contests:
        unit = table.settings.get("unit", "unit")
        size = table.contests[0].unit_bytes
        shown = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
        parts.append(f"{unit} {shown}")
    if table.copy_rate:
        parts.append(f"copy {table.copy_rate / 1e9:.1f} GB/s")
    floors = [floor for c in table.contests if (floor := table.floor_s(c))]
    if floors:
        ms = 1000 * min(floors)
        parts.append(f"floor {number(ms)} ms" if ms >= 0.01 else f"floor {number(1000 * ms)} µs")
    return ", ".join(parts)


def notes(table: Table) -> Iterator[str]:
    """What a reader of the table must know, one sentence each, the same ones once."""
    yield from table.notes
    said: dict[tuple[str, str], list[str]] = {}
    for contest in table.contests:
        for entry in contest.entries:
            if entry.reason:
                said.setdefault((entry.name, entry.reason), []).append(contest.name)
    for (name, reason), contests in said.items():
        where = "" if len(contests) > 1 else f" ({contests[0]})"
        yield f"{name}{where}: {reason}"
    rates = [
        f"{contest.name} {number(rate / 1e9)}"
        for contest in table.contests
        if (rate := _rate(contest))
    ]
    if rates:
        yield f"bytes of the floor over our median time, in GB/s: {', '.join(rates)}"
    first: dict[str, list[str]] = {}
    for contest in table.contests:
        if contest.ours.first_s is not None:
            took = f"{contest.name} {number(contest.ours.first_s)} s"
            first.setdefault("; ".join(contest.notes), []).append(took)
    for what, calls in first.items():
        yield f"first call of ours ({what}): {', '.join(calls)}"


def computes(report: BenchReport) -> Iterator[str]:
    """What each implementation computes, one sentence each."""
    said = {
        (contest.name, entry.name): entry.computes
        for table in report.tables
        for contest in table.contests
        for entry in contest.entries
    }
    for (contest, name), text in said.items():
        yield f"{contest}, {name}: {text}"


def print_report(console: Console, report: BenchReport) -> None:
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
        _add_rows(grid, table, contest)
    console.print(grid)
    for note in notes(table):
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))
    console.print()


def _add_rows(grid: Grid, table: Table, contest: Contest) -> None:
    grid.add_row(Text(contest.name, style="bold cyan"))
    for entry in contest.entries:
        bad = entry.status in ("disagrees", "failed")
        style = "bold red" if bad else "bold" if entry is contest.ours else ""
        name, *numbers = cells(table, contest, entry)
        grid.add_row(*(Text(cell, style=style) for cell in (f"  {name}", *numbers)))


def _unit(report: BenchReport) -> str:
    return str(report.tables[0].settings.get("unit", "unit")) if report.tables else "unit"


def markdown(report: BenchReport) -> str:
    """The whole report: environment, tables, what each implementation computes."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: BenchReport) -> Iterator[str]:
    yield "; ".join(f"{_plain(name)}: {_plain(text)}" for name, text in report.environment.items())
    settings = (f"{_plain(name)} {_plain(value)}" for name, value in report.settings.items())
    yield f"\nSettings: {', '.join(settings)}."
    for table in report.tables:
        yield f"\n**{_plain(table.title)}** ({_plain(table_line(table))})\n"
        yield f"| task | {' | '.join(('implementation', *HEADINGS[1:]))} |"
        yield "| --- | --- |" + " ---: |" * (len(HEADINGS) - 1)
        for contest in table.contests:
            for entry in contest.entries:
                name = _plain(contest.name) if entry is contest.ours else ""
                line = " | ".join(map(_plain, cells(table, contest, entry)))
                yield f"| {name} | {line} |"
        yield ""
        for note in notes(table):
            yield f"- {_plain(note)}"
    yield "\nWhat each implementation computes:\n"
    for sentence in computes(report):
        yield f"- {_plain(sentence)}"
    for sentence in report.wrong:
        yield f"\n**Error: {_plain(sentence)}**"


def _plain(text: object) -> str:
    """Text that Markdown takes as it is."""
    escaped = str(text)
    for character in "\\|*_`<[":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def _rate(contest: Contest) -> float | None:
    """Bytes per second that ours achieves, if it moves no more than it must."""
    found = spread(contest.ours.wall_s)
    return contest.floor_bytes / found.median if found else None


def _spread(found: Spread | None) -> tuple[str, str]:
    if found is None:
        return NONE, NONE
    return number(found.median), f"{number(found.least)}..{number(found.most)}"


def _scaled(found: Spread | None, factor: float) -> Spread | None:
    return None if found is None else Spread(*(factor * each for each in found))


def _value(entry: Entry, *, is_ours: bool) -> str:
    if entry.status != "ok":
        return {"missing": "missing", "failed": "FAILED", "disagrees": "DIFFERS"}[entry.status]
    if is_ours:
        value = entry.numbers.get("value")
        return NONE if value is None else f"{value:.4g}"
    return {"": NONE, "equal": "equal", "other definition": "other"}[entry.check]
