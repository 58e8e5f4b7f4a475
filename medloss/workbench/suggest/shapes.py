"""Size, parts, thickness and elongation of a mask.

A thickness is measured on the ridge: the voxels that lie at least as deep as all their neighbours.
There it is the length of the line from one side to the other through the voxel, along the way to
its nearest outside voxel: n for a slab of n voxels, whether n is odd or even. Each ridge voxel
weighs as the square of its thickness, as it stands for a slice of that width: the many short ridges
that lead into bumps of the surface count little.

The length of a part is that of a round tube of its volume V and its thickness D, V / (π/4 D²) (in
2D V / D), so that nothing has to be thinned; D is here what 9/10 of the ridge stay below, for a
tube is long where it is thick. A sheet is long by this measure too, but has less surface for its
volume: S D / V, D the median, is 2 for a sheet, 4 for a tube, 6 for a ball, times up to 1.5 for
faces of voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TUBE_ELONGATION = 10.0
"""A part is a tube from this length in units of its thickness on."""

TUBE_SURFACE = 4.0
"""And from this surface on, in units of volume over thickness; below, it is a sheet (3D only)."""

_LARGEST_PIECE = 1 << 24
"""Voxels that are measured at once: the transform takes some 30 bytes for each."""

_HALO = 32
"""Planes beside a piece that its distances see; what is thicker than twice that is measured so."""


@dataclass(frozen=True)
class Shape:
    """One class of one case.

    Args:
        voxels: of the class.
        volume_mm3: in 2D the area in mm².
        part_mm3: volume of each connected part (neighbours across corners), the largest first.
        thickness_mm: weighted median over the ridge.
        thickness_voxels: the same in voxels, along the direction in which it was measured.
        thickest_mm: largest on the ridge.
        elongation: length over thickness of the parts, the mean weighted by volume.
        tube_share: share of the volume that lies in tubes.
        surface_mm2: of the voxels' faces; in 2D their length in mm.
    """

    voxels: int
    volume_mm3: float
    part_mm3: tuple[float, ...]
    thickness_mm: float
    thickness_voxels: float
    thickest_mm: float
    elongation: float
    tube_share: float
    surface_mm2: float


def measure_shape(
    mask: NDArray[np.bool_], spacing_mm: Sequence[float], *, piece: int = _LARGEST_PIECE
) -> Shape:
    r"""Measure a mask; outside of it and of its array is background.

    Args:
        mask: (\*spatial), 2D or 3D, not empty; best cut to the box of the class.
        spacing_mm: size of a voxel along each axis.
        piece: voxels that are measured at once.

    Raises:
        ValueError: the mask is empty, or has not an axis for each number of ``spacing_mm``.

    Example:
        >>> tube = np.ones((3, 3, 40), np.bool_)
        >>> shape = measure_shape(tube, (1.0, 1.0, 1.0))
        >>> shape.thickness_mm, shape.tube_share, len(shape.part_mm3)
        (3.0, 1.0, 1)
    """
    if mask.ndim != len(spacing_mm) or not mask.any():
        raise ValueError(
            f"mask: expected a mask with {len(spacing_mm)} axes that is not empty, got the shape "
            f"{mask.shape} with {np.count_nonzero(mask)} voxels"
        )
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    inside = np.pad(mask, 1)
    parts, count = ndimage.label(inside, np.ones((3,) * mask.ndim))
    volume = np.bincount(parts.ravel(), minlength=count + 1)[1:] * spacing.prod()
    surface = _surface(parts, count, spacing)
    ridge = [*_ridge(inside, spacing, piece)]
    thickness, steps = (np.concatenate([each[k] for each in ridge]) for k in (1, 2))
    at = np.concatenate([parts[each[0]] for each in ridge])
    weights, everywhere = thickness**2, np.ones_like(at)
    thick = _below(0.9, thickness, weights, at, count)
    elongation = volume / (thick**2 if mask.ndim == 2 else math.pi / 4 * thick**3)
    tube = elongation >= TUBE_ELONGATION
    if mask.ndim == 3:
        tube &= surface * _below(0.5, thickness, weights, at, count) / volume >= TUBE_SURFACE
    return Shape(
        voxels=int(np.count_nonzero(mask)),
        volume_mm3=float(volume.sum()),
        part_mm3=tuple(sorted(volume.tolist(), reverse=True)),
        thickness_mm=float(_below(0.5, thickness, weights, everywhere)[0]),
        thickness_voxels=float(_below(0.5, thickness / steps, weights, everywhere)[0]),
        thickest_mm=float(thickness.max()),
        elongation=float(np.average(elongation, weights=volume)),
        tube_share=float(volume[tube].sum() / volume.sum()),
        surface_mm2=float(surface.sum()),
    )


def _below(
    share: float,
    numbers: NDArray[np.float64],
    weights: NDArray[np.float64],
    parts: NDArray[np.integer[Any]],
    count: int = 1,
) -> NDArray[np.float64]:
    """What this share of the numbers of each part stays below."""
    order = np.lexsort((numbers, parts))
    summed = np.cumsum(weights[order])
    ends = np.searchsorted(parts[order], np.arange(count + 1), side="right") - 1
    below = np.where(ends < 0, 0, summed[ends])  # all parts up to this one
    wanted = below[:-1] + share * np.diff(below)
    return numbers[order][np.searchsorted(summed, wanted)]


def _surface(
    parts: NDArray[np.integer[Any]], count: int, spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area of the faces of each part."""
    area = np.zeros(count + 1)
    for axis, step in enumerate(spacing):
        face = spacing.prod() / step
        lines = np.moveaxis(parts, axis, 0)
        for side, other in ((lines[1:], lines[:-1]), (lines[:-1], lines[1:])):
            area += face * np.bincount(side[(side > 0) & (other == 0)], minlength=count + 1)
    return area[1:]


Ridge = tuple[tuple[NDArray[np.intp], ...], NDArray[np.float64], NDArray[np.float64]]
"""Indices of voxels, thickness there in mm, and size of a voxel along its direction in mm."""


def _ridge(inside: NDArray[np.bool_], spacing: NDArray[np.float64], piece: int) -> Iterator[Ridge]:
    """The ridge of a padded mask, piece by piece along its longest axis."""
    axis = int(np.argmax(inside.shape))
    length = inside.shape[axis]
    planes = max(1, piece // (inside.size // length))
    core = length if planes >= length else max(1, planes - 2 * _HALO)
    for start in range(0, length, core):
        low, high = max(0, start - _HALO), min(length, start + core + _HALO)
        view = inside[(slice(None),) * axis + (slice(low, high),)]
        where, thickness, steps = _ridge_of(view, spacing)
        own = (where[axis] >= start - low) & (where[axis] < start + core - low)
        kept = [index[own] for index in where]
        kept[axis] += low
        yield tuple(kept), thickness[own], steps[own]


def _ridge_of(inside: NDArray[np.bool_], spacing: NDArray[np.float64]) -> Ridge:
    nearest = ndimage.distance_transform_edt(
        inside, sampling=spacing, return_distances=False, return_indices=True
    )
    depth = np.zeros(inside.shape, np.float32)  # squared; the transform's own distances take more
    for axis, step in enumerate(spacing):
        places = np.arange(inside.shape[axis], dtype=np.int32)
        away = nearest[axis] - places.reshape([-1 if k == axis else 1 for k in range(inside.ndim)])
        depth += (away * np.float32(step)) ** 2
    where = np.nonzero(inside & (depth >= ndimage.maximum_filter(depth, size=3)))
    way = np.stack([nearest[axis][where] - index for axis, index in enumerate(where)])
    squares = (way * spacing[:, None]) ** 2
    length = np.sqrt(squares.sum(0))
    steps = (squares * spacing[:, None]).sum(0) / length**2
    # The voxel as far away on the other side: inside where the thickness is even.
    shape = np.array(inside.shape)[:, None]
    mirrored = np.stack(where) - way
    within = ((mirrored >= 0) & (mirrored < shape)).all(0)
    even = within & inside[tuple(np.clip(mirrored, 0, shape - 1))]
    return where, 2 * length - np.where(even, 0, steps), steps
