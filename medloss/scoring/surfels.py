"""Area of the surface inside each cell between voxel centres, for every way the cell may be filled.

A cell is a cube (a square in 2D) with voxel centres at its corners. Where some corners are inside
the mask and some are not, the surface crosses the cell: through the midpoints of the cell's edges
that join an inside to an outside corner. Both are derived here, from the faces of the cell:

* Walking round a face joins its crossed edges by segments. On a face with two inside corners
  diagonally opposite, the corners of the smaller side (inside or outside) are cut off one by one,
  so that a mask and its complement have the same surface.
* The segments close to loops of three to six points. A loop that is not flat is cut into triangles
  in the way that has the largest area in a cube.

The areas are those of the ``surface-distance`` package, whose table is not used here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, ...]
"""A corner of the unit cell, or the midpoint of an edge in half units (sum of its two corners)."""


def corners(axes: int) -> tuple[Point, ...]:
    """Corners of the unit cell; the n-th one is bit n of a cell's code.

    Example:
        >>> corners(2)
        ((0, 0), (0, 1), (1, 0), (1, 1))
    """
    return tuple(itertools.product((0, 1), repeat=axes))


@cache
def element_areas(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Area in mm² (in 2D length in mm) of the surface in a cell, by the code of the cell.

    Args:
        spacing_mm: size of a voxel along each of two or three axes.

    Example:
        >>> float(element_areas((0.5, 0.5, 3.0))[0b00001111])  # one half along the first axis
        1.5
    """
    axes = len(spacing_mm)
    spacing = np.array(spacing_mm, dtype=np.float64)
    # A segment stretches with its axis, a normal vector with the two other axes.
    stretch = spacing if axes == 2 else np.prod(spacing) / spacing
    areas: NDArray[np.float64] = np.linalg.norm(_pieces(axes) * stretch, axis=-1).sum(axis=-1)
    areas.flags.writeable = False
    return areas


@cache
def _pieces(axes: int) -> NDArray[np.float64]:
    """Segments (2D) or area vectors of triangles (3D) of each code, padded by zeros to four.

    The code of the complement of a cell is its bitwise inverse.
    """
    cell = corners(axes)
    table = np.zeros((2 ** len(cell), 4, axes))
    for code in range(len(table) // 2):
        inside = {corner for bit, corner in enumerate(cell) if code >> bit & 1}
        if len(inside) > len(cell) // 2:
            inside = set(cell) - inside
        segments = [s for face in _faces(axes) for s in _segments(face, inside)]
        if axes == 2:
            pieces = [np.subtract(b, a) / 2 for a, b in segments]
        else:
            pieces = [piece for loop in _loops(segments) for piece in _widest(loop)]
        table[[code, ~code], : len(pieces)] = np.reshape(pieces, (-1, axes))
    return table


def _faces(axes: int) -> Iterator[list[Point]]:
    """The four corners of each face, in the order of a walk round it."""
    ring = [(0, 0), (0, 1), (1, 1), (1, 0)]
    if axes == 2:
        yield list(ring)
        return
    for axis, side in itertools.product(range(3), (0, 1)):
        yield [(*corner[:axis], side, *corner[axis:]) for corner in ring]


def _segments(face: Sequence[Point], inside: set[Point]) -> list[tuple[Point, Point]]:
    """Lines in which the surface meets a face, between midpoints of the face's edges."""
    edges = [tuple(np.add(face[n - 1], face[n]).tolist()) for n in range(4)]
    crossed = [n for n in range(4) if (face[n - 1] in inside) != (face[n] in inside)]
    if len(crossed) == 4:
        return [(edges[n], edges[(n + 1) % 4]) for n in range(4) if face[n] in inside]
    return [(edges[crossed[0]], edges[crossed[1]])] if crossed else []


def _loops(segments: Sequence[tuple[Point, Point]]) -> Iterator[list[Point]]:
    """Closed loops of the segments; every midpoint lies on two faces, so on two segments."""
    ends: dict[Point, list[Point]] = {}
    for a, b in segments:
        ends.setdefault(a, []).append(b)
        ends.setdefault(b, []).append(a)
    while ends:
        loop = [next(iter(ends))]
        while following := [p for p in ends.pop(loop[-1]) if p in ends]:
            loop.append(following[0])
        yield loop


def _widest(loop: Sequence[Point]) -> NDArray[np.float64]:
    """Area vectors of the triangles of a loop, cut so that their area in a cube is the largest."""
    points = np.array(loop) / 2
    cuts = []
    for triangles in _triangulations(0, len(loop) - 1):
        a, b, c = (points[list(index)] for index in zip(*triangles, strict=True))
        cuts.append(np.cross(b - a, c - a) / 2)
    return max(cuts, key=lambda vectors: float(np.linalg.norm(vectors, axis=1).sum()))


def _triangulations(first: int, last: int) -> Iterator[list[tuple[int, int, int]]]:
    """Every way to cut the polygon of points ``first`` to ``last`` into triangles."""
    if last - first < 2:
        yield []
    for middle in range(first + 1, last):
        for left in _triangulations(first, middle):
            for right in _triangulations(middle, last):
                yield [(first, middle, last), *left, *right]
