"""Strip and box plots: every value of a metric, a row for each label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.outputs.folder import Folder, Label, Measure, Value
from medloss.evaluation.outputs.pages.axes import Axis, axis_of

WIDE, NARROW, ROW, CLOSE_ROW, TOP, BOTTOM, END = 880, 380, 34, 22, 6, 26, 14
_MANY_ROWS = 12
_LETTER = 7.0
_MOST_POINTS = 6000
"""Points of all figures together; beyond, those inside the whiskers are left to the boxes."""

_SPREAD = 0.27
"""How far a dot may be from the middle of its row, as a share of the row."""


@dataclass(frozen=True)
class Point:
    """A value of a case."""

    x: float
    y: float
    status: str
    case: str
    value: float


@dataclass(frozen=True)
class Row:
    """A label: its points and its box, in pixels; ``None`` where there are no values."""

    label: Label
    y: float
    n: int
    points: tuple[Point, ...]
    box: tuple[float, float, float] | None
    whiskers: tuple[float, float] | None
    mean: float | None
    infinite: int


@dataclass(frozen=True)
class Strip:
    """The figure of a metric."""

    measure: Measure
    axis: Axis
    rows: tuple[Row, ...]
    width: int
    height: int
    left: int
    row: int
    thinned: bool

    @property
    def half(self) -> float:
        """Half the height of a box."""
        return 0.32 * self.row

    @property
    def letters(self) -> int:
        """How many letters of a label there is room for."""
        return max(4, int((self.left - 8) / _LETTER))


def strips(folder: Folder) -> tuple[tuple[Strip, Strip], ...]:
    """A figure for each metric and loss that has a value, for wide and for narrow screens."""
    thin = sum(len(case.values) for case in folder.cases) > _MOST_POINTS
    figures = (
        (strip(folder, measure, thin=thin), strip(folder, measure, width=NARROW, thin=thin))
        for measure in folder.measures
    )
    return tuple(pair for pair in figures if pair[0].rows)


def strip(folder: Folder, measure: Measure, *, width: int = WIDE, thin: bool = False) -> Strip:
    """The figure of one metric.

    Args:
        folder: whose cases to show.
        measure: metric or loss.
        width: in pixels.
        thin: leave out the points inside the whiskers.
    """
    keys = list(dict.fromkeys(line.label for line in folder.lines if line.measure == measure.name))
    found = {
        key: [
            (case.name, case.values[key, measure.name])
            for case in folder.cases
            if (key, measure.name) in case.values and case.values[key, measure.name].used
        ]
        for key in keys
    }
    titles = [folder.label(key).title for key in keys]
    left = int(min(width / 4, max([48, *(len(title) * _LETTER + 14 for title in titles)])))
    everything = [value.value for values in found.values() for _, value in values]
    axis = axis_of(everything, left + 8, width - END, share=measure.unit == "")
    row = ROW if len(keys) <= _MANY_ROWS else CLOSE_ROW
    rows = tuple(
        _row(folder.label(key), index, row, found[key], axis, thin=thin)
        for index, key in enumerate(keys)
    )
    return Strip(measure, axis, rows, width, TOP + row * len(keys) + BOTTOM, left, row, thin)


def _row(
    label: Label,
    index: int,
    height: int,
    found: Sequence[tuple[str, Value]],
    axis: Axis,
    *,
    thin: bool,
) -> Row:
    y = TOP + height * (index + 0.5)
    values = np.array([value.value for _, value in found])
    finite = values[np.isfinite(values)]
    box = whiskers = mean = None
    if len(finite):
        low, middle, high = np.percentile(finite, [25, 50, 75])
        reach = 1.5 * (high - low)
        inside = finite[(finite >= low - reach) & (finite <= high + reach)]
        box = (axis(low), axis(middle), axis(high))
        whiskers = (axis(inside.min()), axis(inside.max()))
        mean = axis(float(finite.mean()))
    points = tuple(
        Point(axis(value.value), y + _shift(place) * height, value.status, case, value.value)
        for place, (case, value) in enumerate(found)
        if not thin or whiskers is None or not whiskers[0] <= axis(value.value) <= whiskers[1]
    )
    return Row(label, y, len(values), points, box, whiskers, mean, int(np.isinf(values).sum()))


def _shift(index: int) -> float:
    """Up or down in the strip, evenly spread and the same on every run (golden ratio)."""
    return (math.modf(index * 0.6180339887498949)[0] - 0.5) * 2 * _SPREAD
