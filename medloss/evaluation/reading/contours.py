"""Voxels of closed contours in a plane, by a rule that is right for both ways of drawing them.

Programs draw the outline of a mask between the centres of its last voxels and the next ones, or
through the centres of the last. A voxel is inside where its centre is inside by even-odd, or on a
line, within a tolerance for coordinates in decimal text: that gives back the mask of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.stored import Rule

ON_A_LINE = 1e-3
"""So near to a line, in voxels, lies a centre that is on it."""

Points = NDArray[np.float64]
"""(N, 2) vertices, in voxels: the centre of the first voxel is (0, 0)."""


def fill(contours: Sequence[Points], shape: tuple[int, int], rule: Rule) -> NDArray[np.bool_]:
    """Voxels of a plane that contours hold together.

    A centre is inside where it is inside an odd number of the contours: a contour in another one
    is a hole. ``"strict"`` takes away the centres that lie on any line. ``"inclusive"`` adds them,
    but for lines walked there and back, as to a hole and from it again; these add their centres
    where they end blindly or lead from centre to centre, which is how voxels in a row are outlined,
    and a contour of one or two points likewise.

    Args:
        contours: closed, each with at least one vertex.
        shape: of the plane.
        rule: for centres on a line.

    Example:
        >>> square = np.array([[1, 1], [3, 1], [3, 3], [1, 3]], dtype=float)
        >>> [int(fill([square], (5, 5), rule).sum()) for rule in ("inclusive", "strict")]
        [9, 1]
        >>> int(fill([square, np.array([[2.0, 2.0]])], (5, 5), "strict").sum())
        0
    """
    plane = np.zeros(shape, dtype=bool, order="F")  # as the array that it becomes a part of
    every = np.concatenate(contours)
    low = np.clip(np.floor(every.min(axis=0)) - 1, 0, shape).astype(int)
    high = np.clip(np.ceil(every.max(axis=0)) + 2, low, shape).astype(int)
    box = (int(high[0] - low[0]), int(high[1] - low[1]))
    inside = plane[low[0] : high[0], low[1] : high[1]]
    for points in contours:
        inside ^= _even_odd(points - low, box)
    for points in contours:
        lines = _outline(points - low) if rule == "inclusive" else _edges(points - low)
        inside[_on_lines(*lines, box)] = rule == "inclusive"
    return plane


def overlap_partly(contours: Sequence[Points], shape: tuple[int, int]) -> bool:
    """Whether two contours share voxels and neither lies in the other."""
    if len(contours) < 2:
        return False
    boxes = [(points.min(axis=0), points.max(axis=0)) for points in contours]
    masks: dict[int, NDArray[np.bool_]] = {}
    for one in range(len(contours)):
        for other in range(one):
            apart = (boxes[one][0] > boxes[other][1]) | (boxes[other][0] > boxes[one][1])
            if apart.any():
                continue
            for each in (one, other):
                if each not in masks:
                    masks[each] = _even_odd(contours[each], shape)
            both = masks[one] & masks[other]
            if both.any() and not any((both == masks[each]).all() for each in (one, other)):
                return True
    return False


def _even_odd(points: Points, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Centres inside one contour: an odd number of its edges lies to their left, along axis 0."""
    start, end = _edges(points)
    # From below to above, so that an edge and the same edge walked back cross at one place.
    up = (start[:, 1] <= end[:, 1])[:, None]
    low, high = np.where(up, start, end), np.where(up, end, start)
    first = np.clip(np.ceil(low[:, 1]), 0, shape[1]).astype(int)
    last = np.clip(np.ceil(high[:, 1]), 0, shape[1]).astype(int)
    edge, row = _spread(first, last)
    slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
    crossing = low[edge, 0] + (row - low[edge, 1]) * slope
    column = np.clip(np.floor(crossing) + 1, 0, shape[0]).astype(int)
    wide = shape[0] + 1
    found = np.bincount(row * wide + column, minlength=wide * shape[1]).reshape(shape[1], wide)
    inside: NDArray[np.bool_] = (np.cumsum(found, axis=1)[:, :-1] % 2).astype(bool).T
    return inside


def _on_lines(
    start: Points, end: Points, shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Indices of centres within the tolerance of a line."""
    way = end - start
    steep = (np.abs(way[:, 1]) > np.abs(way[:, 0])).astype(int)  # the axis of the longer way
    rows = np.arange(len(start))
    ends = np.sort([start[rows, steep], end[rows, steep]], axis=0)
    edge, along = _spread(
        np.ceil(ends[0] - ON_A_LINE).astype(int), np.floor(ends[1] + ON_A_LINE).astype(int) + 1
    )
    main, length = steep[edge], way[edge, steep[edge]]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (along - start[edge, main]) / length
    share = np.clip(np.where(length == 0, 0.0, share), 0, 1)
    nearest = start[edge] + share[:, None] * way[edge]
    centre = np.rint(nearest).astype(int)
    centre[np.arange(len(edge)), main] = along
    near = np.linalg.norm(nearest - centre, axis=1) <= ON_A_LINE
    within = ((centre >= 0) & (centre < shape)).all(axis=1)
    kept = centre[near & within]
    return kept[:, 0], kept[:, 1]


def _edges(points: Points) -> tuple[Points, Points]:
    return points, np.roll(points, -1, axis=0)


def _outline(points: Points) -> tuple[Points, Points]:
    """Edges of a contour, without those that lead to another part of it and back."""
    start, end = _edges(points)
    nodes = np.unique(np.round(points, 3), axis=0, return_inverse=True)[1].ravel()
    if len(nodes) < 3 or len({*nodes.tolist()}) == len(nodes):
        return start, end  # nothing is walked twice
    pairs = np.sort([nodes, np.roll(nodes, -1)], axis=0).T
    walks: dict[tuple[int, int], int] = {}
    for one, other in pairs.tolist():
        walks[one, other] = walks.get((one, other), 0) + 1
    back = {pair for pair, times in walks.items() if times % 2 == 0}
    near: dict[int, set[int]] = {}
    for one, other in walks:
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    blind = [node for node, others in near.items() if len(others) == 1]
    while blind:  # from the blind ends inwards
        node = blind.pop()
        for other in near.pop(node, set()):
            pair = (min(node, other), max(node, other))
            back.discard(pair)
            near[other].discard(node)
            if len(near[other]) == 1:
                blind.append(other)
    centres = (np.abs(points - np.rint(points)) <= ON_A_LINE).all(axis=1)
    kept = centres & np.roll(centres, -1)
    kept |= np.array([(one, other) not in back for one, other in pairs.tolist()])
    return start[kept], end[kept]


def _spread(first: NDArray[Any], last: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of ranges, the index of each and its numbers: ``first`` up to and without ``last``."""
    lengths = np.maximum(last - first, 0)
    index = np.repeat(np.arange(len(first)), lengths)
    offsets = np.arange(len(index)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return index, first[index] + offsets
