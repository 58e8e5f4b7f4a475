"""Distances between the border voxels of two masks in steps of the grid, as MONAI counts them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloss.scoring.case import Case
from medloss.scoring.facts import Counts
from medloss.scoring.surface.distances import SurfaceDistances

StepMetric = Literal["chessboard", "taxicab"]


class StepsCase(Case):
    """A case whose surfaces are steps of the grid apart; computed on the CPU.

    Args:
        maps: as of :class:`Case`.
        steps: whether a step goes to any neighbour (``chessboard``), or across a face only
            (``taxicab``).
        options: as of :class:`Case`. The spacing has no influence.

    Example:
        >>> reference = np.zeros((5, 5), dtype=bool)
        >>> reference[0, 0] = True
        >>> prediction = np.roll(reference, (2, 3), axis=(0, 1))
        >>> for steps in ("chessboard", "taxicab"):
        ...     case = StepsCase(reference, prediction, steps=steps, labels=[1], preset="monai")
        ...     print(case.surfaces(1).reference_mm)
        [3.]
        [5.]
    """

    def __init__(self, *maps: Any, steps: StepMetric, **options: Any) -> None:
        super().__init__(*maps, **options)
        self._steps = steps

    def surfaces(self, label: int) -> SurfaceDistances:
        """Distances between the two surfaces of a class, in steps where others are in mm."""
        from scipy.ndimage import binary_erosion  # heavy

        masks = self._maps.masks(self._known(label))
        # Beyond the box there is nothing of either mask, and no shorter way.
        one, other = (m & ~binary_erosion(m) for m in (masks.reference, masks.prediction))
        both = *_directed(one, other, self._steps), *_directed(other, one, self._steps)
        return SurfaceDistances(*both, preset=self.preset, band=_no_band)


def _directed(
    own: NDArray[np.bool_], other: NDArray[np.bool_], steps: StepMetric
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of border voxels to other ones in ascending order, and how many have each."""
    from scipy.ndimage import distance_transform_cdt

    if not other.any():
        found = np.full(np.count_nonzero(own), np.inf)
    else:
        found = distance_transform_cdt(~other, metric=steps)[own].astype(np.float64)
    values, many = np.unique(found, return_counts=True)
    return values, many.astype(np.float64)


def _no_band(width: float) -> Counts:
    raise ValueError("distance_metric: expected 'euclidean' for boundary bands, got steps")
