"""``medloss doctor``: what works here, and what does not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from medloss.cli.exits import FAILED
from medloss.cli.terminal import make_console, say

if TYPE_CHECKING:
    from medloss.workbench.doctor import Observation

_STYLES = {"ok": "", "note": "yellow", "broken": "bold red"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor_command(context: click.Context, as_json: bool) -> None:
    """Say what of medloss works here: versions, backends, compiled code, plugins, readers.

    Each loss, metric and reader on offer is imported, and a loss and a metric are computed. It
    changes nothing but caches. What it prints belongs into a report of a fault.

    Exit code: 0, or 1 where something is broken.
    """
    from medloss.workbench.doctor import examine

    found = list(examine())
    broken = sum(finding.state == "broken" for _, finding in found)
    if as_json:
        rows = [{"heading": heading, **asdict(finding)} for heading, finding in found]
        say(json.dumps({"broken": broken, "findings": rows}, indent=2))
    else:
        _print(found)
        many = f"{broken} {'thing is' if broken == 1 else 'things are'} broken"
        say(f"{many}." if broken else "Nothing is broken.")
    context.exit(FAILED if broken else 0)


def _print(found: list[tuple[str, Observation]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = make_console()
    for heading in dict.fromkeys(heading for heading, _ in found):
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for _, finding in (row for row in found if row[0] == heading):
            style = _STYLES[finding.state]
            state = "" if finding.state == "ok" else f"{finding.state}: "
            table.add_row(escape(finding.what), escape(f"{state}{finding.value}"), style=style)
        console.print(f"[bold]{heading}[/]")
        console.print(table)
        console.print()
