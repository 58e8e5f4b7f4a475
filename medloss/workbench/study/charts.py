"""Figures of a study: where things lie; the templates draw them."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medloss.evaluation.outputs.pages.axes import Axis, axis_of
from medloss.workbench.study.tables import RankPlot

WIDE, NARROW, ROW, TOP, BOTTOM, END = 880, 380, 22, 20, 26, 12
CURVE_WIDTH, CURVE_HEIGHT = 300, 170
_LETTER = 6.6
_POINTS = 80
_SMOOTHED = 20
"""A point of a curve is the mean over a twentieth of the steps around it."""


@dataclass(frozen=True)
class RankRow:
    """A loss in pixels.

    Args:
        name: of the loss.
        rank: mean rank.
        y: middle of the row.
        x: of the mean rank.
        ends: half the critical difference to both sides; None where there is no such test.
    """

    name: str
    rank: float
    y: float
    x: float
    ends: tuple[float, float] | None


@dataclass(frozen=True)
class RankFigure:
    """Mean ranks by one metric."""

    plot: RankPlot
    axis: Axis
    rows: tuple[RankRow, ...]
    width: int
    height: int
    left: int

    @property
    def letters(self) -> int:
        """How many letters of a name there is room for."""
        return max(6, int((self.left - 8) / _LETTER))


@dataclass(frozen=True)
class CurveFigure:
    """Training curves of a loss, one line a run.

    Args:
        name: of the loss.
        x: steps.
        y: value of the loss.
        paths: of the lines.
        broken: step and value axis ends where a run diverged.
    """

    name: str
    x: Axis
    y: Axis
    paths: tuple[str, ...]
    broken: tuple[float, ...]
    width: int = CURVE_WIDTH
    height: int = CURVE_HEIGHT


def rank_figure(plot: RankPlot, width: int) -> RankFigure:
    """Losses in rows, the best on top."""
    left = int(min(width * 0.42, max(len(name) for name in plot.names) * _LETTER + 14))
    axis = Axis(1.0, float(max(len(plot.names), 2)), left + 10, width - END)
    half = plot.critical / 2
    rows = tuple(
        RankRow(
            name=name,
            rank=rank,
            y=TOP + ROW * (index + 0.5),
            x=axis(rank),
            ends=None if math.isnan(half) else (axis(rank - half), axis(rank + half)),
        )
        for index, (name, rank) in enumerate(zip(plot.names, plot.ranks, strict=True))
    )
    return RankFigure(plot, axis, rows, width, TOP + ROW * len(rows) + BOTTOM, left)


def curve_figure(name: str, files: Iterable[Path]) -> CurveFigure | None:
    """Curves of the runs of a loss; None where none is there."""
    runs = [steps for file in files if (steps := _read(file))]
    if not runs:
        return None
    lines = [_smooth([(n, loss) for n, loss in run if math.isfinite(loss)]) for run in runs]
    values = [value for line in lines for _, value in line]
    x = Axis(0.0, max(run[-1][0] for run in runs), 46, CURVE_WIDTH - 16)
    y = axis_of(values, CURVE_HEIGHT - 28, 8, bend=False)
    paths = tuple(_path(line, x, y) for line in lines if line)
    broken = tuple(x(run[-1][0]) for run in runs if not math.isfinite(run[-1][1]))
    return CurveFigure(name, x, y, paths, broken)


def _read(file: Path) -> list[tuple[int, float]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(lines)]


def _smooth(steps: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Means over windows, thinned to as many points as can be seen."""
    if not steps:
        return []
    reach = max(1, len(steps) // _SMOOTHED) // 2
    sums = [0.0, *itertools.accumulate(value for _, value in steps)]
    apart = max(1, len(steps) // _POINTS)
    found = []
    for index in sorted({*range(0, len(steps), apart), len(steps) - 1}):
        low, high = max(0, index - reach), min(len(steps), index + reach + 1)
        found.append((float(steps[index][0]), (sums[high] - sums[low]) / (high - low)))
    return found


def _path(line: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return "M" + "L".join(f"{x(n):.1f} {y(value):.1f}" for n, value in line)
