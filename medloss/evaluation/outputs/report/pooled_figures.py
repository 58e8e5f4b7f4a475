"""Values of all cases together, as a page shows them, and FROC curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medloss.evaluation.outputs.pages.axes import Axis
from medloss.evaluation.outputs.pooled import Pooled, asked_for
from medloss.evaluation.outputs.report.reliability import ABOVE, BELOW, LEFT, RIGHT, SIZE
from medloss.evaluation.records import Measure, ResultTable, ScoredLabel, label_key
from medloss.scoring.candidates import RATES


@dataclass(frozen=True)
class FrocPoint:
    """A number of false positives per image: where it is drawn, and the sensitivity there."""

    x: float
    y: float
    false_per_image: float
    sensitivity: float


@dataclass(frozen=True)
class FrocFigure:
    """A FROC curve up to the largest number of false positives that its score asks for.

    Args:
        points: at the numbers that the score is the mean of.
        line: the curve in pixels.
        x: axis of the false positives per image.
        y: axis of the sensitivity.
    """

    points: tuple[FrocPoint, ...]
    line: tuple[tuple[float, float], ...]
    x: Axis
    y: Axis
    width: int = SIZE
    height: int = SIZE


@dataclass(frozen=True)
class PooledRow:
    """A line of the table.

    Args:
        found: the value.
        measure: whose it is.
        label: ``None`` for all of them.
        froc: the curve, if it has one.
    """

    found: Pooled
    measure: Measure
    label: ScoredLabel | None
    froc: FrocFigure | None


def pooled_figures(table: ResultTable) -> tuple[PooledRow, ...]:
    """A row for each value of all cases together that people read."""
    measures = {measure.name: measure for measure in table.measures}
    return tuple(
        PooledRow(
            each,
            measures[each.metric],
            None if each.label is None else table.label(label_key(each.label)),
            _froc(each, measures[each.metric]),
        )
        for each in asked_for(table)
    )


def _froc(found: Pooled, measure: Measure) -> FrocFigure | None:
    sensitivity = np.array([0.0, *found.curve.get("sensitivity", ())])
    if len(sensitivity) == 1 or np.isnan(sensitivity).any():
        return None
    false = np.array([0.0, *found.curve["false_per_image"]])
    rates = sorted({float(rate) for rate in measure.options.get("rates", RATES)})
    end = rates[-1] or 1.0
    x, y = Axis(0.0, end, LEFT, SIZE - RIGHT), Axis(0.0, 1.0, SIZE - BELOW, ABOVE)
    shown = zip(false.tolist(), sensitivity.tolist(), strict=True)
    line = [(x(one), y(other)) for one, other in shown if one <= end]
    line.append((x(end), y(float(np.interp(end, false, sensitivity)))))
    # Pixels of the screen are as fine as a curve of thousands of candidates can be seen.
    seen = tuple(dict.fromkeys((round(2 * a) / 2, round(2 * b) / 2) for a, b in line))
    values = ((rate, float(np.interp(rate, false, sensitivity))) for rate in rates)
    points = tuple(FrocPoint(x(rate), y(value), rate, value) for rate, value in values)
    return FrocFigure(points, seen, x, y)
