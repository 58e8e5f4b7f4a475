"""Bland-Altman plots: do volumes agree, and does the difference grow with the volume?

Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of clinical
measurement. Lancet 1986, doi:10.1016/S0140-6736(86)90837-8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.outputs.folder import Folder, Label
from medloss.evaluation.outputs.pages.axes import Axis, axis_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 350, 260, 54, 10, 10, 40
MOST_FIGURES = 12
_MOST_POINTS = 1000


@dataclass(frozen=True)
class Agreement:
    """Volumes of a label in all cases where it occurs on either side.

    Args:
        label: which.
        unit: ``ml``, or ``mm³`` where all volumes are below 1 ml; ``mm²`` for 2D images.
        cases: with a volume above 0 in the reference or the prediction.
        reference: volumes.
        prediction: volumes.
    """

    label: Label
    unit: str
    cases: tuple[str, ...]
    reference: tuple[float, ...]
    prediction: tuple[float, ...]

    @property
    def differences(self) -> tuple[float, ...]:
        """Prediction minus reference."""
        return tuple(p - r for p, r in zip(self.prediction, self.reference, strict=True))

    @property
    def means(self) -> tuple[float, ...]:
        """Of prediction and reference."""
        return tuple((p + r) / 2 for p, r in zip(self.prediction, self.reference, strict=True))

    @property
    def bias(self) -> float:
        """Mean difference."""
        return float(np.mean(self.differences))

    @property
    def limits(self) -> tuple[float, float]:
        """Limits of agreement: bias -+ 1.96 sample standard deviations; NaN for one case."""
        if len(self.cases) < 2:
            return math.nan, math.nan
        reach = 1.96 * float(np.std(self.differences, ddof=1))
        return self.bias - reach, self.bias + reach


@dataclass(frozen=True)
class Plot:
    """A figure, in pixels."""

    agreement: Agreement
    x: Axis
    y: Axis
    points: tuple[tuple[float, float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


def agreements(folder: Folder) -> tuple[Agreement, ...]:
    """Volumes of every label that the folder has voxel counts of."""
    found = (_agreement(folder, label) for label in folder.labels)
    return tuple(agreement for agreement in found if agreement)


def plot(agreement: Agreement) -> Plot:
    """The figure of a label."""
    limits = [limit for limit in agreement.limits if math.isfinite(limit)]
    x = axis_of(agreement.means, LEFT, WIDTH - RIGHT, bend=False)
    y = axis_of([*agreement.differences, *limits, 0.0], HEIGHT - BOTTOM, TOP, bend=False)
    reach = max(abs(y.low), abs(y.high))
    y = Axis(-reach, reach, y.start, y.end)
    step = -(-len(agreement.cases) // _MOST_POINTS)
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
    order = sorted(found, key=lambda a: -abs(a.bias) / (float(np.mean(a.means)) or 1.0))
    chosen = {a.label.key for a in order[:MOST_FIGURES]}
    return tuple(a for a in found if a.label.key in chosen)


def _agreement(folder: Folder, label: Label) -> Agreement | None:
    cases, volumes, dimensions = [], [], 3
    for case in folder.cases:
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
