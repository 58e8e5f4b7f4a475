"""The cell of each object: the voxels that are nearer to it than to any other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime import threads
from medloss.runtime.compiling import Loops

_loops = Loops("metrics")

_ROUNDING = 1e-9
"""Of a place, in voxels, where two objects are as near."""


def nearest_objects(
    numbers: NDArray[Any],
    spacing_mm: Sequence[float],
    wanted: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Number of the object that is nearest to each voxel, by distances between centres in mm.

    A voxel that is equally near to several objects belongs to that of the lowest number.

    Args:
        numbers: of the object of each voxel, 0 outside; 2D or 3D, at least one object.
        spacing_mm: size of a voxel along each axis.
        wanted: voxels that somebody asks about; others outside of all objects may have 0.

    Example:
        >>> nearest_objects(np.array([[1, 0, 0, 0, 2]]), (1.0, 1.0))
        array([[1, 1, 1, 2, 2]], dtype=int32)
    """
    flat = (1,) * (3 - numbers.ndim)
    found = np.array(numbers, np.int32, order="C").reshape(flat + numbers.shape)
    asked = np.ones(found.shape, np.bool_) if wanted is None else wanted.reshape(found.shape)
    asked = np.logical_and(asked, found == 0)
    # Lines along the first axis that hold a voxel in question, by their last coordinate.
    lines: NDArray[np.bool_] = asked.any(axis=0).T
    y = lines.nonzero()[1].astype(np.int32)
    first = np.zeros(len(lines) + 1, np.int64)
    np.cumsum(lines.sum(axis=1), out=first[1:])
    planes = np.flatnonzero(found.any(axis=(1, 2))).astype(np.int32)
    a, b, c = (1.0,) * len(flat) + tuple(float(mm) ** 2 for mm in spacing_mm)
    near = np.empty((len(planes), len(y)))
    which = np.empty((len(planes), len(y)), np.int32)

    def in_planes(start: int, stop: int) -> None:
        _in_planes(found, planes, (start, stop), first, y, (b, c), near, which)

    def across(start: int, stop: int) -> None:
        _across(near, which, planes, (start, stop), first, y, a, asked, found)

    if len(y):
        _shared(in_planes, len(planes), found.size)
        _shared(across, len(lines), found.size)
    return found.reshape(numbers.shape)


def _shared(work: Any, many: int, elements: int) -> None:
    """Let threads do a few pieces of something each."""
    pieces = min(many, 16) if elements >= threads.EACH else 1
    edges = [n * many // pieces for n in range(pieces + 1)]
    threads.run(pieces, lambda n: work(edges[n], edges[n + 1]), elements)


@_loops.part
def _lower(
    place: Any, height: Any, number: Any, many: Any, width: Any, kept: Any, cut: Any, tilt: Any
) -> Any:
    """Which parabolas are the lowest somewhere, and from where on; how many.

    Parabola n is ``height[n] + width (x - place[n])²``. Among equal ones the lowest number counts,
    as if a height grew with its number by less than any difference: ``tilt`` is how much a cut
    moves by that.
    """
    top = -1
    for n in range(many):
        at, by = -np.inf, 0.0
        while top >= 0:
            m = kept[top]
            apart = 2 * width * (place[n] - place[m])
            rise = height[n] - height[m]
            at = rise / apart + (place[n] + place[m]) / 2
            by = np.float64(number[n] - number[m]) / apart
            slack = _ROUNDING * (1 + (height[n] + height[m]) / apart)
            if at > cut[top] + slack or (at >= cut[top] - slack and by > tilt[top]):
                break
            top -= 1
        if top < 0:
            at, by = -np.inf, 0.0
        top += 1
        kept[top], cut[top], tilt[top] = n, at, by
    return top + 1


@_loops.part
def _passed(x: Any, cut: Any, tilt: Any, slack: Any) -> Any:
    """Whether a place lies beyond a cut."""
    return cut < x - slack or (cut <= x + slack and tilt < 0)


@_loops.kernel
def _in_planes(
    numbers: Any,
    planes: Any,
    piece: Any,
    first: Any,
    lines: Any,
    squares: Any,
    near: Any,
    which: Any,
) -> None:
    """Squared distance to, and number of, the nearest object of a plane, on each line."""
    _, rows, length = numbers.shape
    width, step = squares
    away, number = np.empty((rows, length)), np.empty((rows, length), np.int32)
    place, height = np.empty(rows), np.empty(rows)
    own, kept = np.empty(rows, np.int32), np.empty(rows, np.int64)
    cut, tilt = np.empty(rows), np.empty(rows)
    held = np.empty(rows, np.int64)
    for p in range(piece[0], piece[1]):
        many = 0
        for y in range(rows):
            row = numbers[planes[p], y]
            some = row[0]
            for z in range(length):
                some |= row[z]
            if some == 0:
                continue
            held[many] = y
            last, last_number = -np.inf, np.int32(0)
            for z in range(length):
                if row[z]:
                    last, last_number = np.float64(z), row[z]
                away[many, z], number[many, z] = z - last, last_number
            last = np.inf
            for z in range(length - 1, -1, -1):
                if row[z]:
                    last, last_number = np.float64(z), row[z]
                there = last - z
                if there < away[many, z] or (
                    there == away[many, z] and last_number < number[many, z]
                ):
                    away[many, z], number[many, z] = there, last_number
            many += 1
        for z in range(length):
            if first[z] == first[z + 1]:
                continue
            for n in range(many):
                place[n] = held[n]
                height[n] = away[n, z] ** 2 * step
                own[n] = number[n, z]
            top = _lower(place, height, own, many, width, kept, cut, tilt)
            at = 0
            for line in range(first[z], first[z + 1]):
                here = np.float64(lines[line])
                while at + 1 < top and _passed(
                    here, cut[at + 1], tilt[at + 1], _ROUNDING * (1 + height[kept[at]] / width)
                ):
                    at += 1
                n = kept[at]
                near[p, line] = height[n] + width * (here - place[n]) ** 2
                which[p, line] = own[n]


@_loops.kernel
def _across(
    near: Any,
    which: Any,
    planes: Any,
    piece: Any,
    first: Any,
    lines: Any,
    width: Any,
    asked: Any,
    numbers: Any,
) -> None:
    """Write the number of the nearest object of all planes where it is asked."""
    many = len(planes)
    place, height = planes.astype(np.float64), np.empty(many)
    own, kept = np.empty(many, np.int32), np.empty(many, np.int64)
    cut, tilt = np.empty(many), np.empty(many)
    for z in range(piece[0], piece[1]):
        for line in range(first[z], first[z + 1]):
            y = lines[line]
            for n in range(many):
                height[n], own[n] = near[n, line], which[n, line]
            top = _lower(place, height, own, many, width, kept, cut, tilt)
            at = 0
            for x in range(numbers.shape[0]):
                while at + 1 < top and _passed(
                    np.float64(x),
                    cut[at + 1],
                    tilt[at + 1],
                    _ROUNDING * (1 + height[kept[at]] / width),
                ):
                    at += 1
                if asked[x, y, z]:
                    numbers[x, y, z] = own[kept[at]]
