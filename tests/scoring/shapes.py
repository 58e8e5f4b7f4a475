"""Masks whose surface distances are known, and distances by brute force."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.scoring.surfels import element_areas

Mask = NDArray[np.bool_]


def ball(shape_mm: Sequence[float], voxel_mm: float, centre_mm: Any, radius_mm: float) -> Mask:
    axes = [(np.arange(round(side / voxel_mm)) + 0.5) * voxel_mm for side in shape_mm]
    grids = np.meshgrid(*axes, indexing="ij")
    squares = [(grid - c) ** 2 for grid, c in zip(grids, centre_mm, strict=True)]
    return np.sum(squares, axis=0) <= radius_mm**2


def box(shape: Sequence[int], start: Sequence[int], stop: Sequence[int]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def blobs(seed: int, shape: Sequence[int]) -> tuple[Mask, Mask]:
    """Two random masks that overlap: a rough blob, and the same with other voxels changed."""
    rng = np.random.default_rng(seed)
    reference = rng.random(shape) < 0.3
    prediction = reference ^ (rng.random(shape) < 0.15)
    return reference, prediction


def brute_force_elements(mask: Mask, spacing: Sequence[float]) -> tuple[Any, Any]:
    """Positions in mm and areas of the surface elements, voxel by voxel."""
    padded = np.pad(mask, 1)
    positions, element_area = [], []
    for corner in itertools.product(*(range(n + 1) for n in mask.shape)):
        cell = padded[tuple(slice(c, c + 2) for c in corner)].ravel()
        if cell.any() and not cell.all():
            positions.append(np.multiply(corner, spacing))
            code = sum(1 << bit for bit, inside in enumerate(cell) if inside)
            element_area.append(element_areas(tuple(map(float, spacing)))[code])
    return np.reshape(positions, (-1, mask.ndim)), np.array(element_area)


def brute_force(reference: Mask, prediction: Mask, spacing: Sequence[float]) -> list[Any]:
    """Distances of all pairs: (mm, area) of each element of the reference, of the prediction."""
    (g, g_area), (p, p_area) = (brute_force_elements(m, spacing) for m in (reference, prediction))
    pairs = np.sqrt(((g[:, None] - p[None]) ** 2).sum(axis=-1))
    return [
        (pairs.min(axis=1, initial=np.inf), g_area),
        (pairs.min(axis=0, initial=np.inf), p_area),
    ]


def brute_force_percentile(mm: Any, area: Any, share: float) -> float:
    """Smallest distance d such that the elements within d have the share of the area."""
    return min(d for d in mm if area[mm <= d + 1e-9].sum() >= share * area.sum() - 1e-9)


def by_distance(mm: Any, area: Any) -> Any:
    """Each distance once, rounded, with the area of all elements that have it; (2, n)."""
    distances, which = np.unique(np.round(mm, 8), return_inverse=True)
    return np.array([distances, np.bincount(which, weights=area, minlength=len(distances))])


def sides(found: Any) -> list[Any]:
    """Both directions of surface distances by distance."""
    return [
        by_distance(found.reference_mm, found.reference_area),
        by_distance(found.prediction_mm, found.prediction_area),
    ]
