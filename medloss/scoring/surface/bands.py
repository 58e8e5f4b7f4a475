"""Boundary bands: the voxels of a mask that lie within a width of its border, for all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.objects.spacing import below, reach, within
from medloss.runtime.compiling import Loops
from medloss.scoring.facts import Counts
from medloss.scoring.maps import LabelMaps
from medloss.scoring.surface.grid import Spacing, all_steps, is_ignored, label_row, lengths

_loops = Loops("metrics")


class Bands:
    """Counts of the boundary bands of two maps; each width is computed once, for all classes.

    A border voxel has a face neighbour outside of its mask; the edge of the image is border too.

    Args:
        maps: reference and prediction.
        spacing: size of a voxel in mm.
        below: whether the band ends before its width, or includes it.
    """

    def __init__(self, maps: LabelMaps, spacing: Spacing, *, below: bool) -> None:
        self._maps, self._spacing, self._below = maps, spacing, below
        self._found: dict[float, NDArray[np.int64]] = {}

    def counts(self, code: int, width_mm: float) -> Counts:
        """Voxels of a class that lie in both bands, in the prediction's or the reference's only."""
        if width_mm not in self._found:
            self._found[width_mm] = self._count(width_mm)
        return Counts.of(self._found[width_mm][:, code], self._maps.voxels)

    def _count(self, width_mm: float) -> NDArray[np.int64]:
        maps = self._maps
        totals = np.zeros((3, maps.many), dtype=np.int64)
        if maps.box is None:
            return totals
        steps = all_steps(self._spacing, reach(width_mm))
        mm = lengths(steps, self._spacing)
        inside = below(mm, width_mm) if self._below else within(mm, width_mm)
        steps = steps[inside | (mm == 0)]  # a border voxel is in its band
        outside = np.zeros(maps.box[5], dtype=maps.reference.dtype)
        outside.flags.writeable = False
        band = np.zeros(maps.box[3:], dtype=np.uint8)
        for bit, labels in ((1, maps.reference), (2, maps.prediction)):
            _stamp(labels, maps.box, maps.flat, outside, steps, bit, band)
        _tally(maps.reference, maps.prediction, maps.ignored, maps.box, band, totals)
        return totals


@_loops.kernel
def _stamp(labels: Any, box: Any, flat: Any, outside: Any, steps: Any, bit: Any, band: Any) -> None:
    """Set a bit at the voxels around each border voxel that have its label."""
    for i in range(box[3]):
        for j in range(box[4]):
            here = label_row(labels, box, i, j, outside)
            above = label_row(labels, box, i - 1, j, outside)
            below = label_row(labels, box, i + 1, j, outside)
            left = label_row(labels, box, i, j - 1, outside)
            right = label_row(labels, box, i, j + 1, outside)
            for k in range(box[5]):
                c = here[k]
                if c == 0 or (
                    (flat or (above[k] == c and below[k] == c))
                    and left[k] == c
                    and right[k] == c
                    and k > 0
                    and here[k - 1] == c
                    and k + 1 < box[5]
                    and here[k + 1] == c
                ):
                    continue
                for n in range(steps.shape[0]):
                    x, y, z = i + steps[n, 0], j + steps[n, 1], k + steps[n, 2]
                    if (
                        0 <= x < box[3]
                        and 0 <= y < box[4]
                        and 0 <= z < box[5]
                        and labels[box[0] + x, box[1] + y, box[2] + z] == c
                    ):
                        band[x, y, z] |= bit


@_loops.kernel
def _tally(reference: Any, prediction: Any, ignored: Any, box: Any, band: Any, totals: Any) -> None:
    """Count the voxels of each class in the reference's band, the prediction's, and both."""
    for i in range(box[3]):
        for j in range(box[4]):
            for k in range(box[5]):
                bits = band[i, j, k]
                if bits == 0 or (ignored.size and is_ignored(ignored, box, i, j, k)):
                    continue
                a = reference[box[0] + i, box[1] + j, box[2] + k]
                b = prediction[box[0] + i, box[1] + j, box[2] + k]
                if bits & 1:
                    totals[0, a] += 1
                if bits & 2:
                    totals[1, b] += 1
                if bits == 3 and a == b:
                    totals[2, a] += 1
