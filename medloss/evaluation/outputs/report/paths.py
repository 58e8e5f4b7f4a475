"""Masks as outlines and areas that an SVG path can draw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def area_path(mask: NDArray[np.bool_]) -> str:
    """SVG path that covers the true pixels of ``mask[y, x]``, a rectangle for each run.

    Example:
        >>> area_path(np.array([[False, True, True]]))
        'M1 0h2v1h-2z'
    """
    return "".join(f"M{x} {y}h{n}v1h-{n}z" for y, x, n in _runs(mask))


def outline_path(mask: NDArray[np.bool_]) -> str:
    """SVG path along the sides of pixels where ``mask[y, x]`` changes, the image edge included.

    It goes around each part, and each hole, in one line, so that dashes are as long as they should
    be.

    Example:
        >>> outline_path(np.array([[True, True]]))
        'M0 0h2v1h-2z'
    """
    after = _sides(mask)
    pieces = []
    while after:
        start = at = next(iter(after))
        corners, way = [start], (0, 0)
        while True:
            ways = after[at]
            # Where two pixels touch by a corner, each keeps its own: turn right.
            step = ways.pop(_rightmost(way, ways))
            if not ways:
                del after[at]
            if step != way and way != (0, 0):
                corners.append(at)
            at, way = (at[0] + step[0], at[1] + step[1]), step
            if at == start:
                break
        pieces.append(_path(corners))
    return "".join(pieces)


def _sides(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Where to go from each corner with the inside on the right hand, in steps of (x, y)."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for outside, corner, step in (
        (~padded[:-2, 1:-1], (0, 0), (1, 0)),
        (~padded[1:-1, 2:], (1, 0), (0, 1)),
        (~padded[2:, 1:-1], (1, 1), (-1, 0)),
        (~padded[1:-1, :-2], (0, 1), (0, -1)),
    ):
        for y, x in np.argwhere(inside & outside).tolist():
            after.setdefault((x + corner[0], y + corner[1]), []).append(step)
    return after


def _rightmost(way: tuple[int, int], ways: list[tuple[int, int]]) -> int:
    right = -way[1], way[0]
    return ways.index(right) if right in ways else 0


def _path(corners: list[tuple[int, int]]) -> str:
    path, (x, y) = f"M{corners[0][0]} {corners[0][1]}", corners[0]
    for next_x, next_y in corners[1:]:
        path += f"h{next_x - x}" if next_y == y else f"v{next_y - y}"
        x, y = next_x, next_y
    return path + "z"


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Row, first column and length of every run of true pixels."""
    change = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    for (row, start), (_, end) in zip(starts.tolist(), ends.tolist(), strict=True):
        yield row, start, end - start
