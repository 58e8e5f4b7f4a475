"""What was measured and what follows from it, on the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from medloss.workbench.suggest.advice import Advice, Proposal
from medloss.workbench.suggest.facts import ClassFacts, Facts
from medloss.workbench.suggest.reasons import amount

_MOST = 40
"""Classes that are listed; the rest are in the JSON."""


def print_facts(console: Console, facts: Facts) -> None:
    """Print what was measured."""
    of = f" of {facts.available}, evenly spread over their names" * (facts.cases < facts.available)
    console.print(
        f"[bold]{facts.cases} label map{'s' * (facts.cases != 1)}[/]{of}; median image "
        f"{_by(facts.shape)} voxels of {_by(facts.spacing_mm)} mm; patch {_by(facts.patch)}"
    )
    cubic = "mm³" if facts.axes == 3 else "mm²"
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    table.add_column("in cases", justify="right", no_wrap=True)
    for head in ("of image", cubic, "parts", "median part", "thick mm", "voxels", "long", "tubes"):
        table.add_column(head, justify="right", no_wrap=head in (cubic, "parts", "voxels"))
    for each in facts.classes[:_MOST]:
        table.add_row(escape(each.title), *_cells(each, facts))
    console.print(table)
    if len(facts.classes) > _MOST:
        console.print(f"and {len(facts.classes) - _MOST} more classes: --json has all")
    console.print(
        "[dim]Medians over the cases that have the class. thick: from side to side along the "
        "middle; voxels: the same in voxels; long: length over thickness, from the volume; tubes: "
        "share of the volume in parts at least 10 times as long as thick that are no sheets.[/]\n"
    )


def print_advice(console: Console, advice: Advice) -> None:
    """Print the baseline, the changes and the notes."""
    _print_proposal(console, "Baseline", advice.baseline)
    for number, proposal in enumerate(advice.changes, start=1):
        _print_proposal(console, f"Change {number}", proposal)
    if not advice.changes:
        console.print("[bold]No change[/] is proposed: no number above speaks for one.\n")
    if advice.notes:
        console.print("[bold]Notes[/]")
        for note in advice.notes:
            console.print(Padding(f"- {escape(note)}", (0, 0, 0, 2)))
        console.print()
    console.print(
        "What others found is no promise for your data: train each change by itself beside the "
        "baseline, on the same folds and several seeds, and compare. 'medloss study' does that."
    )


def _print_proposal(console: Console, title: str, proposal: Proposal) -> None:
    console.print(f"[bold]{title}: {proposal.name}[/] - {escape(proposal.change)}")
    rows = [("why", proposal.reason)]
    rows += [("evidence", f"{each.finding}; {each.source}") for each in proposal.evidence]
    rows += [("cost", f"{proposal.cost}; {proposal.command}"), ("judge by", proposal.judge_by)]
    if proposal.caution:
        rows.append(("caution", proposal.caution))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    previous = ""
    for name, text in rows:
        table.add_row("" if name == previous else name, escape(text))
        previous = name
    console.print(Padding(table, (0, 0, 0, 2)))
    for key, value in proposal.config.items():
        for line in f'"{key}": {json.dumps(value, indent=4)}'.splitlines():
            console.print("    " + escape(line), soft_wrap=True)
    console.print()


def _cells(each: ClassFacts, facts: Facts) -> Sequence[str]:
    return (
        f"{each.cases}/{facts.cases}",
        _percent(each.share_of_image),
        amount(each.volume_mm3),
        f"{each.parts:.0f}",
        amount(each.part_mm3),
        f"{each.thickness_mm:.1f}",
        f"{each.thickness_voxels:.1f}",
        f"{each.elongation:.1f}",
        f"{each.tube_share:.0%}",
    )


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.2g}"


def _by(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
