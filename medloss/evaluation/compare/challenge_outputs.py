"""The ranking of a challenge on the terminal, in files, and as what a page shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medloss.evaluation.compare.challenge import Challenge, Row
from medloss.evaluation.compare.ranking import Ranking
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.outputs.formats import number
from medloss.evaluation.outputs.pages import share
from medloss.runtime.files import write_rows

_NARROW, _ROW = 70, 18
"""Columns of the terminal that the table needs, and that each metric needs beside it."""

CELL = 14
"""Pixels of a cell of the map."""


def print_challenge(
    console: Console, compared: ComparedTable, found: Challenge, alike: Ranking
) -> None:
    """Print the place of every run, and what it is made of.

    Args:
        console: to print on.
        compared: the runs.
        found: the ranking of the profile.
        alike: that of all metrics and labels with the same weight.
    """
    names = [run.name for run in compared.runs]
    console.print(Text(f"Ranking by {found.profile}", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("place", justify="right")
    table.add_column("run", overflow="fold")
    shown = found.rows if console.width >= _NARROW + _ROW * len(found.rows) else ()
    heads = ["score", "first in", "beats", *(row.title for row in shown), "place if all alike"]
    for head in heads:
        table.add_column(head, justify="right")
    for run in found.order:
        table.add_row(
            str(found.places[run]),
            Text(names[run]),
            f"{found.scores[run]:.3f}",
            share(found.shares[run][0]),
            f"{found.beats(run):.1f}",
            *(f"{number(x.values[run], x.measure.unit)} ({x.ranks[run]:.3g})" for x in shown),
            str(alike.places[run]),
        )
    console.print(table)
    for sentence in notes(found, len(names)):
        console.print(Text(sentence))
    console.print()


def notes(found: Challenge, runs: int) -> list[str]:
    """What was done, for whoever reads the numbers."""
    rows = "1 row" if len(found.rows) == 1 else f"{len(found.rows)} rows"
    said = [
        *(f"{note}." for note in found.notes),
        found.rules.describe(),
        f"The score is the weighted mean rank over {rows} of metrics and labels. A run beats "
        f"another where a one-sided signed-rank test with Holm's rule over all {runs * (runs - 1)} "
        f"ordered pairs is below {found.rules.level:g}; the number is the mean over the rows.",
    ]
    drawn = "the cases"
    if found.clusters:
        drawn = f"{found.clusters} clusters of cases, drawn whole; the tests count cases"
    if found.resamples:
        said.append(
            f"First in: share of {found.resamples} bootstrap resamples of {drawn}. Kendall's tau "
            f"between their orders and this one is {found.tau_a:.3f} on average (tau-b "
            f"{found.tau_b:.3f})."
        )
    else:
        said.append("So many tests are not made anew for resamples: there is no stability.")
    if lost := sum(found.missing):
        said.append(f"In {lost} places a run has no value.")
    return said


def challenge_json(compared: ComparedTable, found: Challenge) -> dict[str, Any]:
    """All of it, with the map of every row."""
    names = [run.name for run in compared.runs]
    return {
        "profile": found.profile,
        "rules": found.rules.describe(),
        "resamples": found.resamples,
        "kendall_tau_a": found.tau_a,
        "kendall_tau_b": found.tau_b,
        "runs": [
            {
                "name": names[run],
                "place": found.places[run],
                "score": found.scores[run],
                "share_of_places": found.shares[run],
                "beats": found.beats(run),
                "without_value": found.missing[run],
            }
            for run in found.order
        ],
        "rows": [
            {
                "metric": row.measure.name,
                "labels": [label.key for label in row.labels],
                "weight": row.weight,
                "values": dict(zip(names, row.values, strict=True)),
                "ranks": dict(zip(names, row.ranks, strict=True)),
                "p_better": {
                    one: {other: float(row.better[i, j]) for j, other in enumerate(names) if i != j}
                    for i, one in enumerate(names)
                },
            }
            for row in found.rows
        ],
    }


def write_ranking(
    path: Path, compared: ComparedTable, found: Challenge, *, safe: bool = False
) -> None:
    """Write a line for each run, from the best on, with its value and rank in every row."""
    heads = [f"{what} {row.title}" for row in found.rows for what in ("value", "rank")]
    lines: list[Sequence[Any]] = [
        ("place", "run", "score", "share_first", "beats", "without_value", *heads)
    ]
    for run in found.order:
        own = [x for row in found.rows for x in (row.values[run], row.ranks[run])]
        score, share, beats = found.scores[run], found.shares[run][0], found.beats(run)
        name = compared.runs[run].name
        lines.append((found.places[run], name, score, share, beats, found.missing[run], *own))
    write_rows(path, lines, safe=safe)


@dataclass(frozen=True)
class Cell:
    """A pair of runs of the map that differ significantly, in pixels."""

    x: int
    y: int
    title: str


@dataclass(frozen=True)
class SignificanceMap:
    """Which runs are better than which: a row for the better one, a column for the other.

    Args:
        row: what was tested.
        names: of the runs, from the best on.
        cells: where the run of the row is significantly better.
        size: of the square, in pixels.
    """

    row: Row
    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    size: int


def maps(compared: ComparedTable, found: Challenge) -> list[SignificanceMap]:
    """A map for each row, runs in the order of the ranking."""
    order = found.order
    names = tuple(compared.runs[run].name for run in order)
    return [
        SignificanceMap(row, names, _cells(row, order, names, found.rules.level), CELL * len(names))
        for row in found.rows
    ]


def _cells(row: Row, order: Sequence[int], names: Sequence[str], level: float) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            CELL * x,
            CELL * y,
            f"{names[y]} is better than {names[x]}, p {row.better[one, other]:.2g}",
        )
        for y, one in enumerate(order)
        for x, other in enumerate(order)
        if not math.isnan(row.better[one, other]) and row.better[one, other] < level
    )
