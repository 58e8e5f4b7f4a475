"""Exact distances of the elements that the near search left over.

These are false positives far away, and most elements of a hopeless prediction.
Queries and targets are sorted into tiles of neighbours, each with the box that holds it. The
distance of one query bounds that of all queries of its tile, so that few tiles of targets can hold
the nearest one; these are looked into by increasing distance, each only if its box is nearer than
the best target so far.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops

_loops = Loops("metrics")

TILE_VOXELS = 6
"""Side of a tile, in voxels of the same volume that are cubes."""

_FEW = 64
"""With that many times more targets than queries, sorting the targets costs more than it saves."""

Floats = NDArray[np.float64]


def far_distances(
    queries: Floats, low: Floats, high: Floats, spacing: tuple[float, float, float]
) -> Floats:
    """Distance in mm of each point to the nearest of some boxes.

    Args:
        queries: (3, n) points, in voxels.
        low: (3, m) lower corners of the boxes, in voxels; ``m`` at least 1.
        high: (3, m) upper corners; equal to ``low`` for points.
        spacing: size of a voxel in mm; infinite along an axis that all coordinates are equal on.

    Example:
        >>> box = np.array([[0.0], [0.0], [0.0]])
        >>> far_distances(np.array([[0.0], [3.0], [4.0]]), box, box, (math.inf, 1.0, 2.0))
        array([8.54400375])
    """
    mm = np.array([side if math.isfinite(side) else 0.0 for side in spacing])
    finite = [side for side in spacing if math.isfinite(side)]
    per_tile = mm / (TILE_VOXELS * math.prod(finite) ** (1 / len(finite)))
    if queries.shape[1] * _FEW < low.shape[1]:
        starts = np.append(np.arange(0, low.shape[1], _FEW), low.shape[1])
    else:
        order, starts = _tiles(low, per_tile)
        low, high = low[:, order], high[:, order]
    targets = (low, high, starts, *_boxes(low, high, starts))
    order, starts = _tiles(queries, per_tile)
    queries = queries[:, order]
    out = np.empty(len(order))
    out[order] = _nearest(queries, starts, *_boxes(queries, queries, starts), *targets, mm)
    return out


def _tiles(points: Floats, per_tile: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order of the points by tiles, and where each tile begins, with the end of the last one."""
    tile = np.floor(points * per_tile[:, None]).astype(np.int64)
    tile -= tile.min(axis=1, keepdims=True)
    many = tile.max(axis=1) + 1
    number = (tile[0] * many[1] + tile[1]) * many[2] + tile[2]
    if math.prod(many.tolist()) <= 1 << 16:
        number = number.astype(np.uint16)  # numpy sorts small integers by their digits
    order = np.argsort(number, kind="stable")
    inner = np.flatnonzero(np.diff(number[order])) + 1
    return order, np.concatenate([[0], inner, [len(order)]])


def _boxes(low: Floats, high: Floats, starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Smallest box around each tile."""
    return (
        np.minimum.reduceat(low, starts[:-1], axis=1),
        np.maximum.reduceat(high, starts[:-1], axis=1),
    )


_BIG = 1e300
_ROUNDING = 1 + 1e-9


@_loops.part
def _gap(low: Any, high: Any, other_low: Any, other_high: Any, step: Any) -> Any:
    """Square of the way between two stretches of an axis."""
    away = max(other_low - high, low - other_high) * step
    return away * away if away > 0 else 0.0


@_loops.part
def _scan(a: Any, b: Any, c: Any, low: Any, high: Any, first: Any, last: Any, mm: Any) -> Any:
    """Square of the distance of a point to the nearest of some boxes."""
    found = _BIG
    for m in range(first, last):
        d = (
            _gap(a, a, low[0, m], high[0, m], mm[0])
            + _gap(b, b, low[1, m], high[1, m], mm[1])
            + _gap(c, c, low[2, m], high[2, m], mm[2])
        )
        found = d if d < found else found
    return found


# Sums may be taken in any order, and nothing here is NaN or infinite.
@Loops("metrics", fastmath=True).kernel
def _nearest(
    queries: Any,
    q_starts: Any,
    q_low: Any,
    q_high: Any,
    low: Any,
    high: Any,
    starts: Any,
    t_low: Any,
    t_high: Any,
    mm: Any,
) -> Any:
    tiles = starts.size - 1
    out = np.empty(queries.shape[1])
    bound = np.empty(tiles)
    few = np.empty(tiles, np.int64)
    for group in range(q_starts.size - 1):
        reach = 0.0
        nearest, some = _BIG, 0
        for axis in range(3):
            reach += ((q_high[axis, group] - q_low[axis, group]) * mm[axis]) ** 2
        for t in range(tiles):
            bound[t] = (
                _gap(q_low[0, group], q_high[0, group], t_low[0, t], t_high[0, t], mm[0])
                + _gap(q_low[1, group], q_high[1, group], t_low[1, t], t_high[1, t], mm[1])
                + _gap(q_low[2, group], q_high[2, group], t_low[2, t], t_high[2, t], mm[2])
            )
            if bound[t] < nearest:
                nearest, some = bound[t], t
        q = q_starts[group]
        x, y, z = queries[0, q], queries[1, q], queries[2, q]
        last_mm = math.sqrt(_scan(x, y, z, low, high, starts[some], starts[some + 1], mm))
        most = (last_mm + math.sqrt(reach)) ** 2 * _ROUNDING
        count = 0
        for t in range(tiles):
            if bound[t] <= most:
                n = count
                while n > 0 and bound[few[n - 1]] > bound[t]:
                    few[n] = few[n - 1]
                    n -= 1
                few[n] = t
                count += 1
        for q in range(q_starts[group], q_starts[group + 1]):
            a, b, c = queries[0, q], queries[1, q], queries[2, q]
            away = ((a - x) * mm[0]) ** 2 + ((b - y) * mm[1]) ** 2 + ((c - z) * mm[2]) ** 2
            best = (last_mm + math.sqrt(away)) ** 2 * _ROUNDING
            for n in range(count):
                t = few[n]
                if bound[t] > best:
                    break
                if (
                    _gap(a, a, t_low[0, t], t_high[0, t], mm[0])
                    + _gap(b, b, t_low[1, t], t_high[1, t], mm[1])
                    + _gap(c, c, t_low[2, t], t_high[2, t], mm[2])
                ) > best:
                    continue
                best = min(best, _scan(a, b, c, low, high, starts[t], starts[t + 1], mm))
            out[q] = math.sqrt(best)
            x, y, z, last_mm = a, b, c, out[q]
    return out
