"""Where the planes of DICOM images lie: by their positions alone, never by an order of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.stored import CaseError

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM says left, posterior and superior."""

_ONE_PLANE_VOXELS = 0.01
_STEP_TOLERANCE = 0.05
"""Farthest that a slice lies from its place, in steps: positions are decimal text."""

_LARGEST_SPAN_MM = 4000.0
"""No patient is taller; a damaged position is most often farther off."""


class SlicePlane(NamedTuple):
    """Where one image lies, in DICOM's own way: left, posterior and superior.

    Args:
        position: of the centre of the first voxel, in mm.
        directions: cosines of the rows' and the columns' direction, six numbers.
        spacing_mm: between rows, then between columns.
    """

    position: tuple[float, ...]
    directions: tuple[float, ...]
    spacing_mm: tuple[float, ...]


class Planes(NamedTuple):
    """A stack of planes as one grid.

    Args:
        affine: 4x4, (column, row, slice) to RAS+ mm.
        slices: how many the grid has.
        places: slice of each of the planes.
    """

    affine: NDArray[np.float64]
    slices: int
    places: list[int]


def plane(position: Any, directions: Any, spacing: Any) -> SlicePlane:
    """Values of a data set as numbers.

    Raises:
        ValueError: other than three, six and two finite numbers.
    """
    numbers = [tuple(float(x) for x in each) for each in (position, directions, spacing)]
    if [len(each) for each in numbers] != [3, 6, 2] or not np.isfinite(sum(numbers, ())).all():
        raise ValueError(f"position, orientation and spacing of a plane are {numbers}")
    return SlicePlane(*numbers)


def stack(
    path: Path, planes: Sequence[SlicePlane], step_mm: float | None, thickness_mm: float | None
) -> Planes:
    """One grid for planes that are parallel and a whole number of steps apart.

    Args:
        path: for the error texts.
        planes: in any order; several may lie at one place.
        step_mm: from one slice to the next as the file says it, if it does. Without it the smallest
            gap is one step.
        thickness_mm: of a slice, the step where there is one place alone.

    Raises:
        CaseError: they are not parallel, drift within their planes, or lie at uneven distances.
    """
    rows, columns, normal = axes(path, planes[0])
    for each in planes:
        if not np.allclose(each.directions, planes[0].directions, atol=1e-4):
            raise CaseError(f"{path} has frames of several orientations, which are not one volume")
        if not np.allclose(each.spacing_mm, planes[0].spacing_mm, rtol=1e-4):
            raise CaseError(f"{path} has frames of several voxel sizes, which are not one volume")
    positions = np.array([each.position for each in planes])
    heights = positions @ normal
    within = np.stack([positions @ rows / (rows @ rows), positions @ columns / (columns @ columns)])
    drift = float(np.ptp(within, axis=1).max())
    if drift > _ONE_PLANE_VOXELS:
        raise CaseError(
            f"{path} has frames that are shifted within their planes, by up to {drift:.4g} voxels: "
            f"a tilted stack, which is not one volume"
        )
    lowest, span = float(heights.min()), float(np.ptp(heights))
    if span > _LARGEST_SPAN_MM:
        raise CaseError(f"{path} has frames {span:.4g} mm apart, which no patient spans")
    step = _step(path, np.unique(heights), step_mm, thickness_mm)
    places = np.rint((heights - lowest) / step).astype(int)
    origin = positions[heights.argmin()]
    affine = np.eye(4)
    affine[:3] = np.column_stack([rows, columns, step * normal, origin])
    return Planes(TO_RAS @ affine, int(places.max()) + 1, places.tolist())


def axes(path: Path, plane: SlicePlane) -> tuple[NDArray[np.float64], ...]:
    """Steps from column to column and from row to row in mm, and the unit normal of both.

    The spacing between columns belongs to the direction of the rows, in which the columns follow
    one another.

    Raises:
        CaseError: the directions are no unit vectors at right angles.
    """
    along_row, along_column = np.reshape(plane.directions, (2, 3))
    normal = np.cross(along_row, along_column)
    cosines = np.stack([along_row, along_column, normal])
    if np.abs(cosines @ cosines.T - np.eye(3)).max() > 1e-3:
        raise CaseError(f"{path} has directions that are not at right angles: {plane.directions}")
    between_rows, between_columns = plane.spacing_mm
    if min(plane.spacing_mm) <= 0:
        raise CaseError(f"{path} has a voxel size of {between_columns} x {between_rows} mm")
    # Cosines are decimal text, whose rounding is not to make voxels longer than they are stated.
    along_row, along_column, normal = cosines / np.linalg.norm(cosines, axis=1, keepdims=True)
    return along_row * between_columns, along_column * between_rows, normal


def _step(
    path: Path, heights: NDArray[np.float64], told: float | None, thickness: float | None
) -> float:
    """From one slice to the next, in mm, of planes at sorted heights."""
    gaps = np.diff(heights)
    gaps = gaps[gaps > 1e-4]
    if not len(gaps):
        step = told or thickness
        if not step or not step > 0:
            raise CaseError(f"{path} has one slice and does not say how thick it is")
        return float(step)
    shortest = float(np.median(gaps[gaps < 1.02 * gaps.min()]))
    for step in (told, shortest):
        if step and step > 1e-4:
            # The file's own words are rounded; the way from end to end is not.
            step = float(np.ptp(heights) / max(np.rint(np.ptp(heights) / step), 1))
            steps = (heights - heights[0]) / step
            if np.abs(steps - np.rint(steps)).max() < _STEP_TOLERANCE:
                return step
    raise CaseError(
        f"{path} has slices at uneven distances, between {gaps.min():.4g} and {gaps.max():.4g} mm, "
        f"of which distances in millimetres do not follow"
    )
