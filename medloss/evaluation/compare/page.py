"""A comparison as one page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medloss.evaluation.compare.challenge import Challenge
from medloss.evaluation.compare.challenge_outputs import CELL, maps
from medloss.evaluation.compare.challenge_outputs import notes as notes_of
from medloss.evaluation.compare.outputs import heading, notes
from medloss.evaluation.compare.paired import Decisions, Difference
from medloss.evaluation.compare.ranking import Ranking
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.compare.verdicts import is_better, verdict
from medloss.evaluation.outputs.pages import MINUS, definitions, render, write_page
from medloss.evaluation.outputs.pages.axes import Axis, RowFigure, room_for, shift
from medloss.evaluation.records import Measure

WIDE, NARROW, ROW, TOP, BOTTOM, END = 880, 380, 44, 24, 26, 12
_SPREAD = 7.0
_MOST_POINTS = 12000


@dataclass(frozen=True)
class ForestRow:
    """A pair of runs in one label, in pixels.

    Args:
        each: the difference.
        y: middle of the row.
        points: differences of the cases.
        mean: ``None`` where it is not finite.
        ends: of the interval, ``None`` where there is none.
        beyond: points outside the axis, on its left and its right.
    """

    each: Difference
    y: float
    points: tuple[tuple[float, float], ...]
    mean: float | None
    ends: tuple[float, float] | None
    beyond: tuple[int, int]


Forest = RowFigure[ForestRow]
"""The figure of a metric."""


def write_comparison(
    path: Path,
    compared: ComparedTable,
    found: Sequence[Difference],
    ranked: Sequence[Ranking],
    decisions: Decisions,
    challenged: Challenge | None = None,
) -> Path:
    """Write the page of a comparison."""
    drawn = len(compared.cases) * len(found) <= _MOST_POINTS
    groups = [
        (measure, list(group)) for measure, group in itertools.groupby(found, lambda x: x.measure)
    ]
    context = {
        "compared": compared,
        "heading": heading(compared, decisions),
        "notes": notes(compared, found, decisions),
        "verdicts": [(each, verdict(each), is_better(each)) for each in found],
        "whole": ranked[0],
        "order": sorted(range(len(compared.runs)), key=lambda run: ranked[0].places[run]),
        "ranked": ranked[1:],
        "challenge": challenged,
        "challenge_notes": notes_of(challenged, len(compared.runs)) if challenged else [],
        "challenge_maps": maps(compared, challenged) if challenged else [],
        "map_cell": CELL,
        "groups": groups,
        "figures": [
            (forest(m, group, WIDE, points=drawn), forest(m, group, NARROW, points=drawn))
            for m, group in groups
        ],
        "drawn": drawn,
        "incomplete": any(each.only_first or each.only_second for each in found),
        "subgroups": [
            (f"{each.second} {MINUS} {each.first}", each.subgroups)
            for each in found
            if each.subgroups
        ],
        "level": f"{100 * decisions.bootstrap.level:g}%",
        "definitions": definitions(compared.runs[0].table, intervals=False),
    }
    return write_page(path, render("compare.html", context))


def forest(measure: Measure, found: Sequence[Difference], width: int, *, points: bool) -> Forest:
    """Differences of a metric: the mean with its interval, over those of the cases.

    The axis reaches as far as the intervals, and as 95% of the cases; what lies beyond is counted
    at its end.
    """
    names = [f"{each.second} {MINUS} {each.first}" for each in found]
    left = room_for(names, 60, width / 3)
    axis = _axis(found, left + 8, width - END)
    rows = tuple(
        _row(each, TOP + ROW * (index + 0.5), axis, points) for index, each in enumerate(found)
    )
    return Forest(measure, axis, rows, width, TOP + ROW * len(rows) + BOTTOM, left)


def _axis(found: Sequence[Difference], start: float, end: float) -> Axis:
    reach = [abs(x) for each in found for x in (each.mean, each.ci_low, each.ci_high)]
    sizes = sorted(abs(d) for each in found for d in each.differences if math.isfinite(d))
    reach += sizes[int(0.95 * (len(sizes) - 1)) :][:1]
    largest = max([x for x in reach if math.isfinite(x)], default=0.0) or 1.0
    return Axis(-1.06 * largest, 1.06 * largest, start, end)


def _row(each: Difference, y: float, axis: Axis, points: bool) -> ForestRow:
    known = [d for d in each.differences if not math.isnan(d)]
    inside = [d for d in known if axis.low <= d <= axis.high]
    finite = math.isfinite(each.ci_low) and math.isfinite(each.ci_high)
    return ForestRow(
        each=each,
        y=y,
        points=tuple((axis(d), y + shift(i) * 2 * _SPREAD) for i, d in enumerate(inside))
        if points
        else (),
        mean=axis(each.mean) if math.isfinite(each.mean) else None,
        ends=(axis(each.ci_low), axis(each.ci_high)) if finite else None,
        beyond=(sum(d < axis.low for d in known), sum(d > axis.high for d in known)),
    )
