"""What the probabilities of a label say beside how often they are right, in all cases together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.outputs.pages.axes import Axis
from medloss.evaluation.records import Reliability, ResultTable, ScoredLabel, label_key

SIZE, LEFT, RIGHT, ABOVE, BELOW = 280, 46, 10, 10, 40
_MOST_FIGURES = 12
_SMALLEST, _LARGEST = 2.0, 7.0


@dataclass(frozen=True)
class ReliabilityPoint:
    """A bin: where it is drawn, and what it is."""

    x: float
    y: float
    radius: float
    voxels: int
    probability: float
    frequency: float


@dataclass(frozen=True)
class ReliabilityFigure:
    """A label.

    Args:
        label: whose probability it is.
        cases: that it is of.
        points: bins that hold voxels.
        error: expected calibration error of all voxels together.
        x: axis of the probability.
        y: axis of the frequency.
    """

    label: ScoredLabel
    cases: int
    points: tuple[ReliabilityPoint, ...]
    error: float
    x: Axis
    y: Axis
    width: int = SIZE
    height: int = SIZE


def reliability_figures(table: ResultTable) -> tuple[ReliabilityFigure, ...]:
    """A figure for each label, those with the largest errors where there are many."""
    found: dict[Label, list[Reliability]] = {}
    for case in table.cases:
        for row in case.reliability:
            if sum(row.voxels):
                found.setdefault(row.label, []).append(row)
    figures = [_figure(table.label(label_key(label)), rows) for label, rows in found.items()]
    kept = sorted(figures, key=lambda figure: -figure.error)[:_MOST_FIGURES]
    return tuple(figure for figure in figures if figure in kept)


def _figure(label: ScoredLabel, rows: list[Reliability]) -> ReliabilityFigure:
    voxels = np.array([row.voxels for row in rows], dtype=np.float64)
    many = voxels.sum(axis=0)
    probability, frequency = (
        np.nansum(voxels * np.array([getattr(row, name) for row in rows]), axis=0)
        / np.where(many > 0, many, 1.0)
        for name in ("probability", "frequency")
    )
    error = float((many * np.abs(frequency - probability)).sum() / many.sum())
    x, y = Axis(0.0, 1.0, LEFT, SIZE - RIGHT), Axis(0.0, 1.0, SIZE - BELOW, ABOVE)
    most = math.log10(many.max() + 1)
    points = tuple(
        ReliabilityPoint(
            x(float(p)),
            y(float(f)),
            _SMALLEST + (_LARGEST - _SMALLEST) * math.log10(n + 1) / most,
            int(n),
            float(p),
            float(f),
        )
        for n, p, f in zip(many.tolist(), probability.tolist(), frequency.tolist(), strict=True)
        if n
    )
    return ReliabilityFigure(label, len(rows), points, error, x, y)
