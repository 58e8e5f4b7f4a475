"""Exact distances between many points of a grid, plane by plane, without a map of the volume.

A prediction that is wrong altogether leaves most of its surface to the far search. Then it takes
fewer steps to carry squared distances along the axes, as a distance transform does, but only to the
rows in which something is asked:

1. along one axis, each column of a plane knows the nearest target before and behind it;
2. along another, the rows of the plane are lowered by their neighbours, the nearest first, until no
   point of the row can find a nearer one;
3. along the last, each point that asks looks along its row.

Where a few points ask, or targets are scattered, tiles are quicker. Which it is, a count of the
steps tells beforehand.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops
from medloss.scoring.surface.far_search import far_distances

Floats = NDArray[np.float64]
Places = NDArray[np.int32]

# What one step takes, in nanoseconds on one core; only their proportions matter.
_COLUMN, _LOWER, _LOOK, _QUERY, _TARGET = 0.5, 0.2, 0.2, 40.0, 10.0
_TILES_QUERY, _TILES_TARGET = 350.0, 40.0

_FAR = 1e12
"""Steps to where there is no target; its square leaves room for sums."""


def grid_distances(queries: Places, targets: Places, spacing: tuple[float, float, float]) -> Floats:
    """Distance in mm of each point of a grid to the nearest target.

    Args:
        queries: (3, n) places on the grid.
        targets: (3, m) places on the grid; ``m`` at least 1.
        spacing: size of a voxel in mm; infinite along an axis that all places are equal on.

    Example:
        >>> row = np.array([[0, 0, 0], [0, 3, 4], [0, 0, 0]], np.int32)
        >>> grid_distances(row, row[:, :1], (math.inf, 1.0, 2.0))
        array([0., 3., 4.])
    """
    mm = np.array([side if math.isfinite(side) else 0.0 for side in spacing])
    low, high = queries.min(axis=1), queries.max(axis=1)
    # What the first point finds bounds what all others can: the rest need not be looked at.
    first_mm = math.sqrt(_nearest_of(queries[:, 0], targets, mm))
    most = first_mm + math.sqrt((((high - low) * mm) ** 2).sum())
    reach = np.full(3, math.inf)
    np.divide(most * (1 + 1e-9), mm, out=reach, where=mm > 0)
    targets = _inside(targets, low - reach, high + reach)
    held = targets.max(axis=1) - targets.min(axis=1) + 1
    counts = queries.shape[1], targets.shape[1]
    axes, cost = _cheapest(high - low + 1, held, counts, first_mm, mm)
    if cost > _TILES_QUERY * queries.shape[1] + _TILES_TARGET * targets.shape[1]:
        points = targets.astype(np.float64)
        return far_distances(queries.astype(np.float64), points, points, spacing)
    order = list(axes)
    found: Floats = _by_planes(queries[order], targets[order], mm[order], first_mm)
    return found


def _cheapest(
    asked: Places, held: Places, counts: tuple[int, int], first_mm: float, mm: Floats
) -> tuple[tuple[int, ...], float]:
    """The order of the axes that takes the fewest steps, and how long it takes."""
    queries, targets = counts
    found = []
    for column, row, line in itertools.permutations(range(3)):
        if not mm[column]:
            continue  # a column without a target would be no way from one
        near = float(held[row])
        if mm[row]:
            near = min(near, 2 * first_mm / mm[row] + 1)
        rows = min(float(asked[column]) * float(asked[row]), queries)
        plane = float(held[row]) * float(held[line])
        steps = _COLUMN * asked[column] * plane + _LOWER * rows * near * held[line]
        steps += queries * (_QUERY + _LOOK * held[line]) + _TARGET * targets
        found.append((steps, (column, row, line)))
    cost, axes = min(found)
    return axes, cost


# Sums may be taken in any order, and nothing here is NaN or infinite.
_loops = Loops("metrics", fastmath=True)


@_loops.kernel
def _nearest_of(point: Any, targets: Any, mm: Any) -> Any:
    """Squared distance of a point to the nearest target."""
    found = _FAR * _FAR
    for n in range(targets.shape[1]):
        away = ((targets[0, n] - point[0]) * mm[0]) ** 2
        away += ((targets[1, n] - point[1]) * mm[1]) ** 2
        away += ((targets[2, n] - point[2]) * mm[2]) ** 2
        found = min(found, away)
    return found


@Loops("metrics").kernel  # where an infinite reach is one
def _inside(targets: Any, low: Any, high: Any) -> Any:
    """The targets within a box."""
    used = 0
    out = np.empty(targets.shape, targets.dtype)
    for n in range(targets.shape[1]):
        if (
            low[0] <= targets[0, n] <= high[0]
            and low[1] <= targets[1, n] <= high[1]
            and low[2] <= targets[2, n] <= high[2]
        ):
            for axis in range(3):
                out[axis, used] = targets[axis, n]
            used += 1
    return out[:, :used]


@_loops.part
def _sorted_by(keys: Any, many: Any) -> Any:
    """Order of whole numbers below ``many``, and where each one begins."""
    starts = np.zeros(many + 1, np.int64)
    for key in keys:
        starts[key + 1] += 1
    for n in range(many):
        starts[n + 1] += starts[n]
    order = np.empty(keys.size, np.int64)
    for n in range(keys.size):
        order[starts[keys[n]]] = n
        starts[keys[n]] += 1
    for n in range(many, 0, -1):
        starts[n] = starts[n - 1]
    starts[0] = 0
    return order, starts


@_loops.part
def _fill_plane(before: Any, behind: Any, at: Any, mm: Any, out: Any) -> None:
    """Squared way to the nearest target along each column."""
    for n in range(before.size):
        steps = min(at - before[n], behind[n] - at) * mm
        out[n] = steps * steps


@_loops.part
def _lower(row: Any, one: Any, other: Any, cost: Any) -> None:
    for n in range(row.size):
        nearer = min(one[n], other[n]) + cost
        row[n] = nearer if nearer < row[n] else row[n]


@_loops.part
def _look(row: Any, cost: Any) -> Any:
    """The least sum along a row."""
    found = _FAR * _FAR
    for n in range(row.size):
        d = row[n] + cost[n]
        found = d if d < found else found
    return found


@_loops.kernel
def _by_planes(queries: Any, targets: Any, mm: Any, first_mm: float) -> Any:
    many = queries.shape[1]
    out = np.empty(many)
    q_low, q_size = np.empty(3, np.int64), np.empty(3, np.int64)
    t_low, t_size = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        q_low[axis], t_low[axis] = queries[axis].min(), targets[axis].min()
        q_size[axis] = queries[axis].max() - q_low[axis] + 1
        t_size[axis] = targets[axis].max() - t_low[axis] + 1
    planes, rows, lines = q_size[0], t_size[1], t_size[2]
    keys = (queries[0] - q_low[0]) * q_size[1] + (queries[1] - q_low[1])
    asked, starts = _sorted_by(keys, planes * q_size[1])
    walk, _ = _sorted_by(targets[0] - t_low[0], t_size[0])
    # Of each target the one behind it in its column.
    column = (targets[1] - t_low[1]) * lines + (targets[2] - t_low[2])
    before, behind = np.full(rows * lines, -_FAR), np.full(rows * lines, _FAR)
    following = np.empty(walk.size)
    for n in range(walk.size - 1, -1, -1):
        t = walk[n]
        following[n] = behind[column[t]]
        behind[column[t]] = targets[0, t]
    plane = np.empty((rows, lines))
    flat = plane.reshape(-1)
    row = np.empty(lines)
    longest = max(t_low[2] + lines, q_low[2] + q_size[2]) - min(t_low[2], q_low[2])
    cost = np.empty(2 * longest + 1)
    for n in range(cost.size):
        cost[n] = ((n - longest) * mm[2]) ** 2
    worst = first_mm * first_mm
    passed = 0
    for i in range(planes):
        first, last = starts[i * q_size[1]], starts[(i + 1) * q_size[1]]
        if first == last:
            continue
        at = q_low[0] + i
        while passed < walk.size and targets[0, walk[passed]] < at:
            t = walk[passed]
            before[column[t]], behind[column[t]] = targets[0, t], following[passed]
            passed += 1
        _fill_plane(before, behind, float(at), mm[0], flat)
        for j in range(q_size[1]):
            first, last = starts[i * q_size[1] + j], starts[i * q_size[1] + j + 1]
            if first == last:
                continue
            middle = q_low[1] + j - t_low[1]
            most = max(middle, rows - 1 - middle)
            row[:] = _FAR * _FAR
            step = max(0, -middle, middle - rows + 1)
            until = most
            if mm[1] > 0:
                until = min(most, int(math.sqrt(worst) / mm[1]) + 1)
            until = max(until, step)
            while True:
                while step <= until:
                    one, other = middle - step, middle + step
                    if one < 0 or one >= rows:
                        one = other
                    elif other < 0 or other >= rows:
                        other = one
                    _lower(row, plane[one], plane[other], (step * mm[1]) ** 2)
                    step += 1
                worst = 0.0
                for n in range(first, last):
                    q = asked[n]
                    start = longest + t_low[2] - queries[2, q]
                    out[q] = _look(row, cost[start : start + lines])
                    worst = max(worst, out[q])
                if step > most or (step * mm[1]) ** 2 >= worst:
                    break
                until = min(most, int(math.sqrt(worst) / mm[1]) + 1)
    for n in range(many):
        out[n] = math.sqrt(out[n])
    return out
