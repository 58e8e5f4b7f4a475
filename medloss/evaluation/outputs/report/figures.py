"""Figures of a report: strips and boxes of every metric, Bland-Altman plots of volumes.

Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of clinical
measurement. Lancet 1986, doi:10.1016/S0140-6736(86)90837-8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medloss.evaluation.outputs.pages.axes import Axis, RowFigure, axis_of, room_for, shift
from medloss.evaluation.outputs.report.label_table import LEAST
from medloss.evaluation.outputs.statistics.agreement import BlandAltman, bland_altman, spread_grows
from medloss.evaluation.records import Measure, Result, ResultTable, ScoredLabel

WIDE, NARROW, ROW, CLOSE_ROW, TOP, BOTTOM, END = 880, 380, 34, 22, 6, 26, 14
_MANY_ROWS = 12
_MOST_POINTS = 6000
"""Points of all figures together; beyond, those inside the whiskers are left to the boxes."""

_SPREAD = 0.27
"""How far a dot may be from the middle of its row, as a share of the row."""

WIDTH, HEIGHT, LEFT, RIGHT, ABOVE, BELOW = 350, 260, 54, 10, 10, 40
MOST_FIGURES = 12
_MOST_VOLUMES = 1000
_CERTAIN = 0.05
_ROOM = 1.3
"""How far the axis of differences goes beyond all cases and limits."""


@dataclass(frozen=True)
class StripPoint:
    """A value of a case."""

    x: float
    y: float
    status: str
    case: str
    value: float


@dataclass(frozen=True)
class StripRow:
    """A label: its points and its box, in pixels; ``None`` where there are too few values."""

    label: ScoredLabel
    y: float
    n: int
    points: tuple[StripPoint, ...]
    box: tuple[float, float, float] | None
    whiskers: tuple[float, float] | None
    mean: float | None
    infinite: int


@dataclass(frozen=True)
class Strip(RowFigure[StripRow]):
    """The figure of a metric.

    Args:
        row: height of a row.
        thinned: whether the points inside the whiskers are left out.
    """

    row: int
    thinned: bool

    @property
    def half(self) -> float:
        """Half the height of a box."""
        return 0.32 * self.row


def strips(table: ResultTable) -> tuple[tuple[Strip, Strip], ...]:
    """A figure for each metric and loss, for wide and for narrow screens.

    None where no label has so many values that they have a distribution.
    """
    thin = sum(len(case.values) for case in table.cases) > _MOST_POINTS
    figures = (
        (strip(table, measure, thin=thin), strip(table, measure, width=NARROW, thin=thin))
        for measure in table.measures
    )
    return tuple(pair for pair in figures if any(row.n >= LEAST for row in pair[0].rows))


def strip(table: ResultTable, measure: Measure, *, width: int = WIDE, thin: bool = False) -> Strip:
    """The figure of one metric.

    Args:
        table: whose cases to show.
        measure: metric or loss.
        width: in pixels.
        thin: leave out the points inside the whiskers.
    """
    keys = list(dict.fromkeys(line.key for line in table.lines_of(measure)))
    found = {
        key: [
            (case.name, value)
            for case in table.cases
            if (value := case.values.get((key, measure.name))) and value.used
        ]
        for key in keys
    }
    titles = [table.label(key).title for key in keys]
    left = room_for(titles, 48, width / 4)
    everything = [value.value for values in found.values() for _, value in values]
    axis = axis_of(everything, left + 8, width - END, share=measure.unit == "")
    row = ROW if len(keys) <= _MANY_ROWS else CLOSE_ROW
    rows = tuple(
        _row(table.label(key), index, row, found[key], axis, thin=thin)
        for index, key in enumerate(keys)
    )
    return Strip(measure, axis, rows, width, TOP + row * len(keys) + BOTTOM, left, row, thin)


def _row(
    label: ScoredLabel,
    index: int,
    height: int,
    found: Sequence[tuple[str, Result]],
    axis: Axis,
    *,
    thin: bool,
) -> StripRow:
    y = TOP + height * (index + 0.5)
    values = np.array([value.value for _, value in found])
    finite = values[np.isfinite(values)]
    box = whiskers = mean = None
    if len(finite) >= LEAST:
        low, middle, high = np.percentile(finite, [25, 50, 75])
        reach = 1.5 * (high - low)
        inside = finite[(finite >= low - reach) & (finite <= high + reach)]
        box = (axis(low), axis(middle), axis(high))
        whiskers = (axis(inside.min()), axis(inside.max()))
        mean = axis(float(finite.mean()))
    points = tuple(
        StripPoint(
            axis(value.value),
            y + shift(place) * 2 * _SPREAD * height,
            value.status,
            case,
            value.value,
        )
        for place, (case, value) in enumerate(found)
        if not thin or whiskers is None or not whiskers[0] <= axis(value.value) <= whiskers[1]
    )
    return StripRow(label, y, len(values), points, box, whiskers, mean, int(np.isinf(values).sum()))


# Volumes


@dataclass(frozen=True)
class Agreement:
    """Volumes of a label in all cases where it occurs on either side.

    Args:
        label: which.
        unit: ``ml``, or ``mm³`` where all volumes are below 1 ml; ``mm²`` for 2D images.
        cases: with a volume above 0 in the reference or the prediction.
        reference: volumes.
        prediction: volumes.
        difference: what is shown, in words.
    """

    label: ScoredLabel
    unit: str
    cases: tuple[str, ...]
    reference: tuple[float, ...]
    prediction: tuple[float, ...]
    difference: str = "prediction \N{MINUS SIGN} reference"

    @cached_property
    def agreement(self) -> BlandAltman:
        """Bias and limits, each with its interval; none of fewer than three cases."""
        return bland_altman(np.array(self.reference), np.array(self.prediction))

    @cached_property
    def grows(self) -> bool:
        """Whether large volumes differ by more, so that the same limits cannot hold for all."""
        found = spread_grows(np.array(self.reference), np.array(self.prediction))
        return found.rho > 0 and found.p < _CERTAIN

    @property
    def differences(self) -> tuple[float, ...]:
        """Prediction minus reference."""
        return tuple(p - r for p, r in zip(self.prediction, self.reference, strict=True))

    @property
    def means(self) -> tuple[float, ...]:
        """Of prediction and reference."""
        return tuple((p + r) / 2 for p, r in zip(self.prediction, self.reference, strict=True))


@dataclass(frozen=True)
class Plot:
    """A figure, in pixels."""

    agreement: Agreement
    x: Axis
    y: Axis
    points: tuple[tuple[float, float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


def agreements(table: ResultTable) -> tuple[Agreement, ...]:
    """Volumes of every label that the table has voxel counts of."""
    found = (_agreement(table, label) for label in table.labels)
    return tuple(agreement for agreement in found if agreement)


def plot(agreement: Agreement) -> Plot:
    """The figure of a label."""
    x = axis_of(agreement.means, LEFT, WIDTH - RIGHT, bend=False)
    # The intervals of limits of a few cases are endless: they run out of the figure.
    limits = [limit for limit in agreement.agreement.limits if math.isfinite(limit)]
    y = axis_of([*agreement.differences, *limits, 0.0], HEIGHT - BELOW, ABOVE, bend=False)
    reach = _ROOM * max(abs(y.low), abs(y.high))
    y = Axis(-reach, reach, y.start, y.end)
    step = -(-len(agreement.cases) // _MOST_VOLUMES)
    points = [
        (x(mean), y(difference), case)
        for mean, difference, case in zip(
            agreement.means, agreement.differences, agreement.cases, strict=True
        )
    ]
    return Plot(agreement, x, y, tuple(points[::step]))


def most_telling(found: tuple[Agreement, ...]) -> tuple[Agreement, ...]:
    """Those to draw: all if they are few, else the ones with the largest bias for their size."""
    if len(found) <= MOST_FIGURES:
        return found
    order = sorted(found, key=lambda a: -abs(a.agreement.bias) / (float(np.mean(a.means)) or 1.0))
    chosen = {a.label.key for a in order[:MOST_FIGURES]}
    return tuple(a for a in found if a.label.key in chosen)


def _agreement(table: ResultTable, label: ScoredLabel) -> Agreement | None:
    cases, volumes, dimensions = [], [], 3
    for case in table.cases:
        reference, prediction = case.voxels.get(label.key, (0, 0))
        if reference or prediction:
            voxel = math.prod(case.spacing_mm)
            dimensions = len(case.spacing_mm)
            cases.append(case.name)
            volumes.append((reference * voxel, prediction * voxel))
    if not cases:
        return None
    small = dimensions < 3 or max(map(max, volumes)) < 1000
    unit = "mm²" if dimensions < 3 else "mm³" if small else "ml"
    scale = 1.0 if small else 1e-3
    return Agreement(
        label,
        unit,
        tuple(cases),
        tuple(r * scale for r, _ in volumes),
        tuple(p * scale for _, p in volumes),
    )
