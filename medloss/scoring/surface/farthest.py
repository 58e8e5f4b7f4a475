"""How far the boundary of a mask gets from another one: the directed Hausdorff distance of faces.

The distance d(x) of a point to the other boundary is the least of its distances d_j(x) to the faces
of that boundary. Each of these is convex, so that over a rectangle it is largest at a corner; hence

    max over corners of d  ≤  max over the rectangle of d  ≤  min over j of max over corners of d_j.

Most rectangles are closed by what is known of their middles: d grows by no more than the way from
there, and the face that is nearest to the middle bounds it. Of the others those whose upper bound
is beaten are dropped, the rest are halved: branch and bound. What is returned is attained at a
point, and less than :data:`CLOSENESS` of a side below the supremum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops
from medloss.scoring.surface.faces import Parts, face_parts, farthest_of_parts, near_faces
from medloss.scoring.surface.grid import Spacing

_loops = Loops("metrics")

CLOSENESS = 1e-3
"""Largest error, as a share of the shortest side of a voxel."""

_SAME_BIN_MM = 4e-10
"""Distances in bins of their own differ by 1e-9 or more."""

Floats = NDArray[np.float64]
Window = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.bool_], Any]]
"""From the first and the last place along three axes to the mask there and where it begins."""


class Peaks(NamedTuple):
    """Parts of faces on which the distance to the other boundary may be largest.

    Args:
        points: (3, n) middles, in voxels of the map.
        codes: (n,) which point of a face each one is, as the parts of a face are numbered.
        mm: (n,) distances of the middles.
    """

    points: Floats
    codes: NDArray[np.int64]
    mm: Floats


def farthest_mm(peaks: Peaks, other: Window, spacing: Spacing, parts: Parts) -> float:
    """Largest distance of a point of one boundary to the other boundary.

    Args:
        peaks: where it may lie.
        other: gives the mask whose boundary is measured to.
        spacing: size of a voxel, infinite along the only slice of a 2D mask.
        parts: of a face.

    Returns:
        0 without peaks.
    """
    if not len(peaks.mm):
        return 0.0
    attained = float(peaks.mm.max())
    closeness = CLOSENESS * min(spacing)
    cut = face_parts(spacing, parts)
    reach = cut.reach_mm[peaks.codes]
    upper = np.minimum(peaks.mm + reach, _bounds(peaks, spacing, parts))
    order = np.argsort(-upper, kind="stable")
    order = order[upper[order] > attained + closeness]
    if not len(order):
        return attained
    extent = cut.extent[peaks.codes[order]].T
    start, stop = peaks.points[:, order] - extent, peaks.points[:, order] + extent
    mm = np.array([side if math.isfinite(side) else 0.0 for side in spacing])
    # All that a point of these parts may be nearest to, and a voxel more, where faces that the
    # window makes at its rim are farther away.
    around = np.where(mm > 0, (attained + 2 * reach.max()) / np.where(mm > 0, mm, 1) + 2, 0)
    first = np.floor(start.min(axis=1) - around).astype(np.int64)
    last = np.ceil(stop.max(axis=1) + around).astype(np.int64)
    low, high = _faces(*other(first, last), mm > 0)
    return float(
        _branch(
            start,
            stop,
            peaks.mm[order],
            reach[order],
            upper[order],
            low,
            high,
            mm,
            (attained, closeness),
        )
    )


def _bounds(peaks: Peaks, spacing: Spacing, parts: Parts) -> Floats:
    """Upper bounds by the voxel that is nearest to a middle; infinite where it is far away."""
    mm = near_faces(spacing, parts).mm
    bins = np.minimum(mm.searchsorted(peaks.mm - _SAME_BIN_MM), len(mm) - 1)
    keys, worst = farthest_of_parts(spacing, parts)
    wanted = (peaks.codes << 32) | bins
    at = np.minimum(keys.searchsorted(wanted), len(keys) - 1)
    known = (np.abs(mm[bins] - peaks.mm) <= _SAME_BIN_MM) & (keys[at] == wanted)
    bounds: Floats = np.where(known, worst[at], np.inf)
    return bounds


def _faces(
    mask: NDArray[np.bool_], begins: Any, measured: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Corners of the faces of a mask, (3, n) in voxels of the map that it begins in."""
    padded = np.pad(mask, 1)
    low, high = [], []
    for axis in np.flatnonzero(measured):
        before, after = ([slice(None)] * 3 for _ in range(2))
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        centre = np.array(np.nonzero(padded[tuple(before)] != padded[tuple(after)]), np.float64)
        centre += np.reshape(begins, (3, 1)) - 1.0
        centre[axis] += 0.5
        extent = np.where(measured, 0.5, 0.0)[:, None]
        extent[axis] = 0
        low.append(centre - extent)
        high.append(centre + extent)
    return np.concatenate(low, axis=1), np.concatenate(high, axis=1)


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
    start: Any,
    stop: Any,
    away: Any,
    half: Any,
    bound: Any,
    low: Any,
    high: Any,
    mm: Any,
    known: Any,
) -> Any:
    """Largest distance on some rectangles, the most promising first, and what is known before."""
    levels = 64
    best, closeness = known
    everyone = np.empty(low.shape[1], np.int64)
    corners = np.empty(4)
    for f in range(away.size):
        if bound[f] <= best + closeness:
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
