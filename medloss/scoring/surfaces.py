"""Distances between the surfaces of two masks, in mm, with the area of every surface element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medloss.scoring.boxes import mask_box
from medloss.scoring.surfels import corners, element_areas
from medloss.spacing import parse_spacing

Floats = NDArray[np.float64]

DEFINITIONS = ("deepmind",)
"""Presets of what a surface is and how its distances are summarised."""

SHARE_ROUNDING = 1e-10
"""Rounding allowed in a sum of area shares, so that it does not decide which distance is taken."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between the surfaces of one class, both ways; each pair of arrays sorted by mm.

    Args:
        reference_mm: from each element of the reference's surface to the prediction's surface;
            infinite if the prediction has none.
        reference_area: area in mm² (in 2D length in mm) of each of these elements.
        prediction_mm: from each element of the prediction's surface to the reference's surface.
        prediction_area: area of each of these elements.
        definition: preset by which they were made.
    """

    reference_mm: Floats
    reference_area: Floats
    prediction_mm: Floats
    prediction_area: Floats
    definition: str

    def directed_percentiles(self, percent: float) -> tuple[float, float]:
        """Distance within which ``percent`` of a surface lies: reference's, prediction's.

        The smallest distance at which the cumulated share of area reaches ``percent``. NaN for a
        surface without elements.
        """
        return (
            _percentile(self.reference_mm, self.reference_area, percent),
            _percentile(self.prediction_mm, self.prediction_area, percent),
        )


def check_definition(definition: str) -> None:
    """Raise ValueError unless ``definition`` is a preset."""
    if definition not in DEFINITIONS:
        raise ValueError(f"definition: expected {' or '.join(DEFINITIONS)}, got {definition!r}")


def surface_distances(
    reference_mask: NDArray[Any],
    prediction_mask: NDArray[Any],
    spacing_mm: float | Sequence[float] | str,
    *,
    definition: str = "deepmind",
) -> SurfaceDistances:
    """Distances from each surface to the other.

    With the definition ``"deepmind"`` a surface element sits at every corner of voxels whose 8
    voxels (4 in 2D) are not all alike, and has the area of the marching-cubes surface around it.
    Outside of the image the mask is empty, so the edge of the image counts as surface.

    Args:
        reference_mask: 2D or 3D, of bool, or of integers that are 0 or not.
        prediction_mask: of the same shape.
        spacing_mm: size of a voxel along each axis, one number for all, or ``"voxel"``.
        definition: preset, one of :data:`DEFINITIONS`.

    Raises:
        ValueError: shapes, spacing or definition that do not fit.

    Example:
        >>> mask = np.zeros((5, 5), dtype=bool)
        >>> mask[1, 1] = True
        >>> surface_distances(mask, np.roll(mask, 2, axis=0), (0.5, 1.0)).reference_mm
        array([0.5, 0.5, 1. , 1. ])
    """
    check_definition(definition)
    if reference_mask.shape != prediction_mask.shape or reference_mask.ndim not in (2, 3):
        raise ValueError(
            f"prediction_mask: expected a 2D or 3D mask of the reference's shape "
            f"{reference_mask.shape}, got {prediction_mask.shape}"
        )
    (spacing,) = parse_spacing(spacing_mm, batch=1, axes=reference_mask.ndim)
    masks = [mask.astype(bool, copy=False) for mask in (reference_mask, prediction_mask)]
    box = mask_box(masks[0] | masks[1]) or (slice(0, 0),) * reference_mask.ndim
    codes = [_cell_codes(mask[box]) for mask in masks]
    # Codes 0 and 255 (all alike) become the two largest bytes.
    surfaces = [code - np.uint8(1) < 2**2**code.ndim - 2 for code in codes]
    areas = element_areas(spacing)
    arrays = []
    for own, other in ((0, 1), (1, 0)):
        mm = _nearest_mm(surfaces[own], surfaces[other], spacing)
        area = areas[codes[own][surfaces[own]]]
        order = np.argsort(mm, kind="stable")
        arrays += [mm[order], area[order]]
    for array in arrays:
        array.flags.writeable = False  # shared by every metric of the case
    reference_mm, reference_area, prediction_mm, prediction_area = arrays
    return SurfaceDistances(
        reference_mm, reference_area, prediction_mm, prediction_area, definition=definition
    )


def _cell_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Code of the cell around each voxel corner, one more along each axis than there are voxels."""
    codes = np.zeros([n + 1 for n in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(corners(mask.ndim)):
        # Voxel v is corner 0 of the cell v + 1 and corner 1 of the cell v.
        cells = tuple(slice(1 - c, 1 - c + n) for c, n in zip(corner, mask.shape, strict=True))
        codes[cells] |= mask.view(np.uint8) << np.uint8(bit)
    return codes


def _nearest_mm(
    own: NDArray[np.bool_], other: NDArray[np.bool_], spacing: tuple[float, ...]
) -> Floats:
    """Distance of every element of one surface to the nearest of the other one."""
    distances = np.zeros(np.count_nonzero(own))
    if not other.any():
        return np.full_like(distances, math.inf)
    # Most elements of a good prediction coincide with the reference's: distance 0, no search.
    away = ~other[own]
    if away.any():
        tree = cKDTree(np.argwhere(other) * spacing, balanced_tree=False, compact_nodes=False)
        distances[away] = tree.query(np.argwhere(own & ~other) * spacing)[0]
    return distances


def _percentile(distances: Floats, areas: Floats, percent: float) -> float:
    if not len(distances):
        return math.nan
    area = np.cumsum(areas)
    reached = np.searchsorted(area, (percent / 100 - SHARE_ROUNDING) * area[-1])
    return float(distances[min(int(reached), len(distances) - 1)])
