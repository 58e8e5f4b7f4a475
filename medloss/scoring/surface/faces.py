"""Faces of voxels: the exact boundary of a mask, in the midpoints of equal parts of each face.

A face that both masks have is one element at distance 0.

The distance of a point to the boundary of a mask is the distance to the nearest voxel that is
outside of the mask if the point is inside, and inside if it is outside. A point on a face lies on
both sides' voxels: if the mask holds one of them only, the distance is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops
from medloss.scoring.surface.grid import (
    CREDIT,
    FAR,
    IGNORED,
    Frame,
    Sought,
    Spacing,
    all_steps,
    is_ignored,
    label_row,
    lengths,
    pay,
    radius_mm,
    with_room,
    worth_a_try,
)

_loops = Loops("metrics")


Parts = tuple[int, int]
"""Of the shortest side of a voxel, and the most of any side: more than 8 would be more distances
than a key has room for."""


_KEPT = 8
"""Spacings whose steps are kept, some MB each."""


@dataclass(frozen=True, eq=False)
class NearFaces:
    """Voxels by increasing distance from each point of a face between two voxels.

    Args:
        steps: (p, n, 3) from the voxel before the face, for the points of all faces.
        bins: (p, n) of the distance.
        mm: (bins,) distances.
        area: (p + 3,) area of each point's part of the face, then those of whole faces, by axis.
        points: (p + 3, 3) from the centre of the voxel before the face, in voxels; then the middles
            of whole faces.
        first: (4,) the first point of each axis.
        pad: largest step along each axis.
    """

    steps: NDArray[np.int64]
    bins: NDArray[np.int64]
    mm: NDArray[np.float64]
    area: NDArray[np.float64]
    points: NDArray[np.float64]
    first: NDArray[np.int64]
    pad: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class FaceParts:
    """Equal parts of the faces after a voxel; each is looked at in its middle.

    Args:
        points: (p, 3) middles, from the centre of the voxel, in voxels.
        extent: (p, 3) from a middle to a corner, in voxels.
        area: (p,) of each.
        reach_mm: (p,) half the diagonal: no point is farther from the middle.
        first: (4,) the first part of each axis.
    """

    points: NDArray[np.float64]
    extent: NDArray[np.float64]
    area: NDArray[np.float64]
    reach_mm: NDArray[np.float64]
    first: NDArray[np.int64]


@lru_cache(_KEPT)
def face_parts(spacing: Spacing, parts: Parts) -> FaceParts:
    """Parts of the faces after a voxel; an axis of infinite spacing has none.

    Example:
        >>> face_parts((math.inf, 1.0, 3.0), (1, 2)).area
        array([1.5, 1.5, 1. ])
    """
    shortest = min(mm for mm in spacing if math.isfinite(mm))
    counts = [
        min(parts[1], round(parts[0] * mm / shortest)) if math.isfinite(mm) else 1 for mm in spacing
    ]
    points, extents, area, first = [], [], [], [0]
    for axis in range(3):
        if math.isfinite(spacing[axis]):
            axes = [
                np.array([0.5]) if n == axis else (np.arange(count) + 0.5) / count - 0.5
                for n, count in enumerate(counts)
            ]
            grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
            extent = [
                0.5 / count if n != axis and math.isfinite(mm) else 0.0
                for n, (count, mm) in enumerate(zip(counts, spacing, strict=True))
            ]
            whole = math.prod(mm for n, mm in enumerate(spacing) if n != axis and math.isfinite(mm))
            points.append(grid)
            extents += [extent] * len(grid)
            area += [whole / len(grid)] * len(grid)
        first.append(len(area))
    half = np.array(extents)
    reach = lengths(half, spacing)
    return FaceParts(np.concatenate(points), half, np.array(area), reach, np.array(first))


@lru_cache(_KEPT)
def near_faces(spacing: Spacing, parts: Parts) -> NearFaces:
    """Points of the faces, and voxels of at most :func:`radius_mm` around them."""
    cut = face_parts(spacing, parts)
    finite = [mm for mm in spacing if math.isfinite(mm)]
    radius = radius_mm(spacing)
    steps = all_steps(spacing, radius + 1.5 * max(finite))
    mm = np.array([lengths(np.maximum(np.abs(steps - p) - 0.5, 0), spacing) for p in cut.points])
    shortest = int((mm <= radius).sum(axis=1).min())
    order = np.argsort(mm, axis=1, kind="stable")[:, :shortest]
    mm = np.take_along_axis(mm, order, axis=1)
    # Rounded only to be told apart: equal lengths may differ in their last bit.
    _, found, bins = np.unique(np.round(mm, 9), return_index=True, return_inverse=True)
    near = steps[order]
    a, b, c = (int(most) for most in np.abs(near).max(axis=(0, 1)))
    sides = np.array([size if math.isfinite(size) else 1.0 for size in spacing])
    return NearFaces(
        near,
        bins.reshape(mm.shape),
        mm.ravel()[found],
        np.append(cut.area, sides.prod() / sides),
        np.concatenate([cut.points, np.eye(3) / 2]),
        cut.first,
        (a, b, c),
    )


@lru_cache(_KEPT)
def farthest_of_parts(spacing: Spacing, parts: Parts) -> tuple[NDArray[np.int64], Any]:
    """How far a part of a face is from the voxel that is nearest to its middle, at most.

    Returns:
        ``point << 32 | bin`` in ascending order, and for each the largest distance of a corner of
        that part to any of the voxels that are so far from its middle.
    """
    near, cut = near_faces(spacing, parts), face_parts(spacing, parts)
    worst = np.zeros(near.bins.shape)
    for signs in ((1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)):  # a part has no third extent
        corner = cut.points + signs * cut.extent
        gap = np.maximum(np.abs(near.steps - corner[:, None]) - 0.5, 0)
        worst = np.maximum(worst, lengths(gap, spacing))
    keys = ((np.arange(len(cut.area)) << 32)[:, None] | near.bins).ravel()
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[starts], np.maximum.reduceat(worst.ravel(), starts)


@_loops.kernel
def mark(labels: Any, frame: Frame, first: int, last: int, volume: Any) -> None:
    """Copy the labels into the padded volume."""
    box, _flat, pad, outside, _ = frame
    for i in range(first, last):
        if i == box[3]:
            continue
        for j in range(box[4]):
            line = label_row(labels, box, i, j, outside)
            out = volume[i + pad[0], j + pad[1]][pad[2] : pad[2] + box[5]]
            for k in range(box[5]):
                out[k] = line[k]


@_loops.kernel
def search(labels: Any, frame: Frame, sought: Sought, first: int, last: int) -> Any:
    """Distance of each point of the faces in some slices to the other map's boundary.

    Slice ``i`` holds the faces after the voxels of slice ``i - 1``.
    """
    box, _flat, pad, outside, _ = frame
    ignored, wanted, _bits, shape, volume, near = sought
    offsets, bins, first_point = near
    keys, used = np.empty(1024, np.int64), 0
    places = np.empty(1024, np.uint32)
    credit = np.full(wanted.size, CREDIT)
    beyond = (shape[1] * shape[2], shape[2], 1)
    most = 2 * first_point[3]
    pair = np.zeros(2, labels.dtype)
    empty = outside[0]
    for i in range(first - 1, last - 1):
        for j in range(-1, box[4]):
            here = label_row(labels, box, i, j, outside)
            below = label_row(labels, box, i + 1, j, outside)
            right = label_row(labels, box, i, j + 1, outside)
            some = empty
            for k in range(box[5]):
                some |= here[k] | below[k] | right[k]
            if some == 0:
                continue
            row = ((i + pad[0]) * shape[1] + j + pad[1]) * shape[2] + pad[2]
            for k in range(-1, box[5]):
                pair[0] = here[k] if k >= 0 else empty
                for axis in range(3):
                    pair[1] = empty
                    if axis == 0 and k >= 0:
                        pair[1] = below[k]
                    elif axis == 1 and k >= 0:
                        pair[1] = right[k]
                    elif axis == 2 and k + 1 < box[5]:
                        pair[1] = here[k + 1]
                    if pair[0] == pair[1] or first_point[axis] == first_point[axis + 1]:
                        continue  # along the axis of the only slice of a 2D map there are none
                    counts = not ignored.size or not (
                        is_ignored(ignored, box, i, j, k)
                        or is_ignored(
                            ignored, box, i + (axis == 0), j + (axis == 1), k + (axis == 2)
                        )
                    )
                    keys = with_room(keys, used, most)
                    places = with_room(places, used, most)
                    place = row + k
                    for c in pair:
                        if not wanted[c]:
                            continue
                        if (volume[place] == c) != (volume[place + beyond[axis]] == c):
                            # The other boundary has this face too: all of it is 0 away.
                            code = np.int64(first_point[3] + axis)
                            keys[used] = (np.int64(c) << 32) | (code << 16)
                            if not counts:
                                keys[used] |= IGNORED
                            places[used] = place
                            used += 1
                            continue
                        for point in range(first_point[axis], first_point[axis + 1]):
                            found = FAR if counts else IGNORED
                            if counts and worth_a_try(c, credit):
                                inside = volume[place] == c
                                n = 0
                                while (
                                    n < offsets.shape[1]
                                    and (volume[place + offsets[point, n]] == c) == inside
                                ):
                                    n += 1
                                pay(c, n, n < offsets.shape[1], credit)
                                if n < offsets.shape[1]:
                                    found = bins[point, n]
                            keys[used] = (np.int64(c) << 32) | (point << 16) | found
                            places[used] = place
                            used += 1
    return keys[:used], places[:used]
