"""Boundary band metrics: overlap of the voxels near the two borders."""

from __future__ import annotations

import math

from medloss.scoring import Counts, SurfaceDistances


def boundary_iou(surfaces: SurfaceDistances, *, width_mm: float = 2.0) -> float:
    """Boundary intersection over union: overlap of the voxels near each mask's border.

    Formula:
        |G_w ∩ P_w| / |G_w ∪ P_w|, with G_w the voxels of the reference G within w of a border voxel
        of G, and P_w likewise of the prediction P. A border voxel has a face neighbour outside of
        its mask. Distances are between the centres of voxels. By the preset ``metricsreloaded``
        they are below w instead of up to w.

    Range:
        0 to 1 (best), no unit. For a large w it is the Jaccard index.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: what is known of the surfaces of the class.
        width_mm: w, how thick the band is; 0 leaves the border voxels.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> square = np.zeros((9, 9), dtype=bool)
        >>> square[1:7, 1:7] = True
        >>> larger = square.copy()
        >>> larger[7, 1:7] = True
        >>> found = surface_distances(square, larger, spacing_mm=1.0)
        >>> boundary_iou(found, width_mm=0), boundary_iou(found, width_mm=9)
        (0.6153846153846154, 0.8571428571428571)

    Source:
        Cheng et al. 2021, arXiv:2103.16562.
    """
    counts = _band(surfaces, width_mm)
    union = counts.tp + counts.fp + counts.fn
    return counts.tp / union if union else math.nan


def boundary_dice(surfaces: SurfaceDistances, *, width_mm: float = 2.0) -> float:
    """Boundary Dice: Dice coefficient of the voxels near each mask's border.

    Formula:
        2 |G_w ∩ P_w| / (|G_w| + |P_w|), with G_w the voxels of the reference G within w of a border
        voxel of G, and P_w likewise of the prediction P; with J the boundary intersection over
        union it is 2 J / (1 + J).

    Range:
        0 to 1 (best), no unit. For a large w it is the Dice coefficient.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: what is known of the surfaces of the class.
        width_mm: w, how thick the band is; 0 leaves the border voxels.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> square = np.zeros((9, 9), dtype=bool)
        >>> square[1:7, 1:7] = True
        >>> larger = square.copy()
        >>> larger[7, 1:7] = True
        >>> found = surface_distances(square, larger, spacing_mm=1.0)
        >>> round(boundary_dice(found, width_mm=0), 4)
        0.7619

    Source:
        Cheng et al. 2021, arXiv:2103.16562, whose index is the intersection over union.
    """
    counts = _band(surfaces, width_mm)
    both = counts.reference + counts.prediction
    return 2 * counts.tp / both if both else math.nan


def _band(surfaces: SurfaceDistances, width_mm: float) -> Counts:
    if not 0 <= width_mm < math.inf:
        raise ValueError(f"width_mm: expected a distance of at least 0, got {width_mm!r}")
    return surfaces.band(float(width_mm))
