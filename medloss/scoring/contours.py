"""The outlines of a class in the slices along an axis, and what of them would have to be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medloss.objects.planes import PLANES, Plane
from medloss.objects.spacing import short_of
from medloss.scoring.maps import ClassMasks, Mask

Axis = Plane | Literal[0, 1, 2]


@dataclass(frozen=True, eq=False)
class AddedPath:
    """What has to be drawn anew, slice by slice.

    Args:
        pixels: of the outline of the reference that is not covered, in each slice.
        shown: whether the class is in the slice, in the reference or the prediction.
        pixel_mm: mean size of a pixel within the slices.
    """

    pixels: NDArray[np.int64]
    shown: NDArray[np.bool_]
    pixel_mm: float


@dataclass(frozen=True, eq=False)
class Contours:
    """Both masks of a class, with what it takes to find their outlines.

    The outline of a mask in a slice is made of its pixels with one of four neighbours outside of
    it; the edge of the image is no outline.

    Args:
        masks: in a box that holds the voxels beside the class too, but for the edges of the image.
        spacing_mm: size of a voxel along each axis.
        planes: of the slices along each axis.

    Example:
        >>> reference = np.zeros((6, 6), dtype=bool)
        >>> reference[1:5, 1:5] = True
        >>> masks = ClassMasks(reference, np.roll(reference, 1, axis=0), None, (0, 0))
        >>> contours = Contours(masks, (1.0, 1.0))
        >>> contours.added(tolerance_mm=0).pixels, contours.added(tolerance_mm=1).pixels
        (array([6]), array([0]))
    """

    masks: ClassMasks
    spacing_mm: Sequence[float]
    planes: Sequence[Plane] = PLANES

    def added(self, *, tolerance_mm: float, axis: Axis = "axial") -> AddedPath:
        """Outline of the reference that the outline of the prediction does not cover.

        Args:
            tolerance_mm: the outline of the prediction covers pixels whose centres are up to
                r + 1/2 pixels away, r being the tolerance in pixels of mean size, rounded up; with
                0 it covers itself.
            axis: slices along which axis: their plane, or the number of the axis. A 2D image is a
                slice.

        Raises:
            ValueError: no distance, or no such axis.
        """
        number = isinstance(tolerance_mm, int | float) and not isinstance(tolerance_mm, bool)
        if not number or not 0 <= tolerance_mm < math.inf:
            raise ValueError(
                f"tolerance_mm: expected a distance of at least 0, got {tolerance_mm!r}"
            )
        if axis not in (*get_args(Plane), 0, 1, 2) or isinstance(axis, bool):
            raise ValueError(f"axis: expected {', '.join(PLANES)}, 0, 1 or 2, got {axis!r}")
        key = tolerance_mm, axis
        if key not in self._found:
            self._found[key] = self._add(tolerance_mm, axis)
        return self._found[key]

    @cached_property
    def _found(self) -> dict[tuple[float, Axis], AddedPath]:
        return {}

    def _add(self, tolerance_mm: float, axis: Axis) -> AddedPath:
        along = list(self.planes).index(axis) if isinstance(axis, str) else axis

        def slices(mask: Mask) -> Mask:
            return mask[None] if mask.ndim == 2 else np.moveaxis(mask, along, 0)

        reference, prediction = slices(self.masks.reference), slices(self.masks.prediction)
        inside = [mm for n, mm in enumerate(self.spacing_mm) if n != along]
        pixel_mm = float(np.mean(self.spacing_mm if self.masks.reference.ndim == 2 else inside))
        missing = _outline(reference)
        reached = _outline(prediction)
        if tolerance_mm and reached.any() and missing.any():
            steps = math.ceil(short_of(tolerance_mm) / pixel_mm)
            reached = _grown(reached, min(steps, sum(reference.shape[1:])))
        missing &= ~reached
        if self.masks.ignored is not None:
            counts = ~slices(self.masks.ignored)
            missing, reference, prediction = (x & counts for x in (missing, reference, prediction))
        shown: NDArray[np.bool_] = np.any(reference | prediction, axis=(1, 2))
        return AddedPath(np.count_nonzero(missing, axis=(1, 2)), shown, pixel_mm)


def _outline(masks: Mask) -> Mask:
    """Of each slice along the first axis."""
    core = masks.copy()
    core[:, 1:] &= masks[:, :-1]
    core[:, :-1] &= masks[:, 1:]
    core[:, :, 1:] &= masks[:, :, :-1]
    core[:, :, :-1] &= masks[:, :, 1:]
    return masks & ~core


def _grown(outlines: Mask, steps: int) -> Mask:
    """Pixels up to half a pixel more than so many steps away, in the same slice."""
    from scipy import ndimage

    # Another slice is farther away than anything within one.
    apart = 2.0 * (sum(outlines.shape[1:]) + 1)
    away: NDArray[Any] = ndimage.distance_transform_edt(~outlines, sampling=(apart, 1, 1))
    grown: Mask = away <= steps + 0.5
    return grown
