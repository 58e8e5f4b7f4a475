"""A report as Markdown, to paste into a page."""

from __future__ import annotations

from collections.abc import Iterator

from medloss.workbench.bench.cells import HEADINGS, computes, notes, row, table_line
from medloss.workbench.bench.results import Report


def markdown(report: Report) -> str:
    """The whole report: environment, tables, what each implementation computes."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
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
                cells = " | ".join(_plain(cell) for cell in row(table, contest, entry).cells)
                yield f"| {name} | {cells} |"
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
