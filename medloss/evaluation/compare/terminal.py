"""What a comparison says on the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medloss.evaluation.compare.paired import Difference
from medloss.evaluation.compare.ranking import Ranking
from medloss.evaluation.compare.runs import Ground
from medloss.evaluation.compare.words import heading, notes
from medloss.evaluation.outputs.layout import number
from medloss.evaluation.outputs.pages import p_value, share
from medloss.evaluation.outputs.statistics import Bootstrap

WIDTH = 80
"""The tables need so many columns."""

_WIDE = 100


def print_comparison(
    console: Console,
    ground: Ground,
    found: Sequence[Difference],
    ranked: Sequence[Ranking],
    bootstrap: Bootstrap,
) -> None:
    """Print the ranking, every difference, and what the numbers mean."""
    for note in ground.notes:
        console.print(Text(f"Note: {note}.", style="yellow"))
    console.print(Text(heading(ground), style="bold"))
    console.print()
    console.print(_ranking(ground, ranked[0]))
    console.print()
    for measure, group in itertools.groupby(found, key=lambda each: each.measure):
        title = f"{measure.title}, {measure.better} is better"
        console.print(Text(title, style="bold cyan"), soft_wrap=True)
        console.print(_differences(list(group), wide=console.width >= _WIDE))
        console.print()
    for sentence in notes(ground, found, bootstrap):
        console.print(Text(sentence))


def _ranking(ground: Ground, ranking: Ranking) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("place", justify="right")
    table.add_column("run", overflow="fold")
    table.add_column("mean rank", justify="right")
    table.add_column("first in", justify="right")
    order = sorted(range(len(ground.runs)), key=lambda run: ranking.places[run])
    for run in order:
        table.add_row(
            str(ranking.places[run]),
            Text(ground.runs[run].name),
            number(ranking.mean_ranks[run], "mm"),
            share(ranking.shares[run][0]),
        )
    return table


def _differences(found: Sequence[Difference], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("label", overflow="fold", min_width=5)
    table.add_column("second - first", overflow="fold", min_width=8)
    for head in ("n", "difference [interval]", "+/=/-", *(["p"] if wide else []), "p (Holm)"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("better", overflow="fold", min_width=6)
    for each in found:
        mean, low, high = (
            number(x, each.measure.unit) for x in (each.mean, each.ci_low, each.ci_high)
        )
        table.add_row(
            Text(each.label.title),
            Text(f"{each.second} - {each.first}"),
            str(each.n),
            Text(f"{mean} [{low}, {high}]"),
            f"{each.wins}/{each.ties}/{each.losses}",
            *([p_value(each.p)] if wide else []),
            p_value(each.p_holm),
            Text(each.favours or "-"),
        )
    return table
