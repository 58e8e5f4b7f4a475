"""How far the boundary of a mask gets from another one: the directed Hausdorff distance of faces.

The distance d(x) of a point to the other boundary is the least of its distances d_j(x) to the faces
of that boundary. Each of these is convex, so that over a rectangle it is largest at a corner; hence

    max over corners of d  ≤  max over the rectangle of d  ≤  min over j of max over corners of d_j.

Rectangles whose upper bound is beaten are dropped, others are halved: branch and bound. What is
returned is attained at a point, and less than :data:`CLOSENESS` of a side below the supremum.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops
from medloss.scoring.surface.far_search import far_distances

_loops = Loops("metrics")

CLOSENESS = 1e-3
"""Largest error, as a share of the shortest side of a voxel."""

Floats = NDArray[np.float64]


def farthest_mm(
    own: NDArray[np.bool_],
    other: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None,
    spacing_mm: tuple[float, ...],
) -> float:
    """Largest distance of a point of one boundary to the other boundary.

    Args:
        own: mask, 2D or 3D.
        other: mask of the same shape, not empty; outside of the array both are empty.
        ignored: faces beside such a voxel do not count; they are still measured to.
        spacing_mm: size of a voxel.

    Returns:
        0 if no face counts.

    Example:
        >>> one = np.zeros((2, 2), dtype=bool)
        >>> one[0, 0] = True
        >>> round(farthest_mm(np.eye(2, dtype=bool), one, None, (1.0, 1.0)), 6)
        1.414214
    """
    low, high, _ = _faces(other, None, other)
    start, stop, coincident = _faces(own, ignored, other)
    start, stop = start[:, ~coincident], stop[:, ~coincident]
    if not start.shape[1]:
        return 0.0
    flat = 3 - len(spacing_mm)
    mm = np.array((0.0,) * flat + spacing_mm)
    a, b, c = (math.inf,) * flat + spacing_mm
    away = far_distances((start + stop) / 2, low, high, (a, b, c))
    half = np.sqrt((((stop - start) / 2 * mm[:, None]) ** 2).sum(axis=0))
    order = np.argsort(-(away + half), kind="stable")
    closeness = CLOSENESS * min(spacing_mm)
    some = order[(away + half)[order] > away.max() + closeness]
    found = _branch(start[:, some], stop[:, some], away[some], half[some], low, high, mm, closeness)
    return max(float(away.max()), float(found))


def _faces(
    mask: NDArray[np.bool_], ignored: NDArray[np.bool_] | None, other: NDArray[np.bool_]
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Corners of the faces of a mask, (3, n) in voxels, and which are faces of the other mask."""
    flat = 3 - mask.ndim
    padded, others = (
        np.pad(m, 1).reshape((1,) * flat + tuple(n + 2 for n in m.shape)) for m in (mask, other)
    )
    hidden = None if ignored is None else np.pad(ignored, 1).reshape(padded.shape)
    low, high, shared = [], [], []
    for axis in range(flat, 3):
        before, after = ([slice(None)] * 3 for _ in range(2))
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        here, there = tuple(before), tuple(after)
        faces = padded[here] != padded[there]
        if hidden is not None:
            faces &= ~(hidden[here] | hidden[there])
        where = np.array(np.nonzero(faces), dtype=np.float64)
        extent = np.full((3, 1), 0.5)
        extent[:flat] = 0
        centre = where.copy()
        centre[axis] += 0.5
        extent[axis] = 0
        low.append(centre - extent)
        high.append(centre + extent)
        shared.append((others[here] != others[there])[faces])
    return np.concatenate(low, axis=1), np.concatenate(high, axis=1), np.concatenate(shared)


@_loops.part
def _squared(x: Any, y: Any, z: Any, low: Any, high: Any, j: Any, mm: Any) -> Any:
    """Square of the distance of a point to a face."""
    a = max(low[0, j] - x, x - high[0, j], 0.0) * mm[0]
    b = max(low[1, j] - y, y - high[1, j], 0.0) * mm[1]
    c = max(low[2, j] - z, z - high[2, j], 0.0) * mm[2]
    return a * a + b * b + c * c


@_loops.part
def _within(
    start: Any, stop: Any, away: Any, reach: Any, low: Any, high: Any, mm: Any, near: Any
) -> Any:
    """Faces that may be nearest to a point of a rectangle, whose middle is ``away`` from them."""
    many = 0
    limit = ((away + 2 * reach) * (1 + 1e-9)) ** 2
    x, y, z = (start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2, (start[2] + stop[2]) / 2
    for j in range(low.shape[1]):
        if _squared(x, y, z, low, high, j, mm) <= limit:
            near[many] = j
            many += 1
    return many


@_loops.kernel
def _branch(
    start: Any, stop: Any, away: Any, half: Any, low: Any, high: Any, mm: Any, closeness: Any
) -> Any:
    """Largest distance on some rectangles, the most promising first."""
    levels = 64
    best = 0.0
    if away.size:
        best = away.max()
    everyone = np.empty(low.shape[1], np.int64)
    corners = np.empty(4)
    for f in range(away.size):
        if away[f] + half[f] <= best + closeness:
            continue
        count = _within(start[:, f], stop[:, f], away[f], half[f], low, high, mm, everyone)
        kept = np.empty((levels + 1, count), np.int64)
        size = np.empty(levels + 1, np.int64)
        kept[0], size[0] = everyone[:count], count
        # What is left to look at: the two corners of each rectangle and its level.
        boxes = np.empty((levels + 2, 6))
        level = np.empty(levels + 2, np.int64)
        for axis in range(3):
            boxes[0, axis], boxes[0, axis + 3] = start[axis, f], stop[axis, f]
        level[0], left = 0, 1
        while left:
            left -= 1
            depth = level[left]
            a0, b0, c0, a1, b1, c1 = boxes[left]
            sides = ((a1 - a0) * mm[0], (b1 - b0) * mm[1], (c1 - c0) * mm[2])
            across = math.sqrt(sides[0] ** 2 + sides[1] ** 2 + sides[2] ** 2)
            corners[:] = np.inf
            upper = np.inf
            for n in range(size[depth]):
                j = kept[depth, n]
                worst = 0.0
                for corner in range(4):
                    # a rectangle has no extent along one axis, whose coordinates are equal
                    x = a1 if corner & 1 else a0
                    y = b1 if (corner >> 1 if sides[0] > 0 else corner & 1) else b0
                    z = c1 if corner >> 1 else c0
                    d = _squared(x, y, z, low, high, j, mm)
                    corners[corner] = min(corners[corner], d)
                    worst = max(worst, d)
                upper = min(upper, worst)
            best = max(best, math.sqrt(corners.max()))
            if math.sqrt(upper) <= best + closeness or across <= closeness or depth == levels:
                continue
            many = 0
            limit = ((math.sqrt(upper) + across) * (1 + 1e-9)) ** 2
            x, y, z = (a0 + a1) / 2, (b0 + b1) / 2, (c0 + c1) / 2
            for n in range(size[depth]):
                j = kept[depth, n]
                if _squared(x, y, z, low, high, j, mm) <= limit:
                    kept[depth + 1, many] = j
                    many += 1
            size[depth + 1] = many
            longest = 0
            for axis in range(1, 3):
                if sides[axis] > sides[longest]:
                    longest = axis
            for half_of in range(2):
                boxes[left] = (a0, b0, c0, a1, b1, c1)
                middle = (boxes[left, longest] + boxes[left, longest + 3]) / 2
                boxes[left, longest + 3 - 3 * half_of] = middle
                level[left] = depth + 1
                left += 1
    return best
