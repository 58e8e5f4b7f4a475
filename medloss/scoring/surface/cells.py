"""Surfels: elements at the corners of voxels whose cell holds more than one label."""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.runtime.compiling import Loops
from medloss.scoring.surface.grid import (
    FAR,
    IGNORED,
    Frame,
    Sought,
    first_step,
    is_ignored,
    label_row,
    remember,
    with_room,
    worth_a_try,
)

_loops = Loops("metrics")


@_loops.part
def _mixed_row(
    labels: Any, box: Any, i: Any, j: Any, flat: Any, outside: Any, rows: Any, out: Any
) -> Any:
    """Read the four rows around a line of corners, and mark those whose 8 voxels differ.

    Corner ``k`` lies between the voxels ``rows[:, k]`` and ``rows[:, k + 1]``, whose first and last
    ones are outside of the box. False if all rows are empty.
    """
    n = box[5]
    some = rows[0, 0]
    for q in range(4):
        before = 1 - (q >> 1)
        line = label_row(labels, box, i if flat else i - before, j - 1 + (q & 1), outside)
        copy = rows[q][1 : n + 1]
        for k in range(n):
            copy[k] = line[k]
        for k in range(n):
            some |= line[k]
    if some == 0:
        return False
    a, b, c, d = rows[0][: n + 1], rows[1][: n + 1], rows[2][: n + 1], rows[3][: n + 1]
    a1, b1, c1, d1 = rows[0][1:], rows[1][1:], rows[2][1:], rows[3][1:]
    for k in range(n + 1):
        v = a[k]
        out[k] = (
            (v != a1[k])
            | (v != b[k])
            | (v != b1[k])
            | (v != c[k])
            | (v != c1[k])
            | (v != d[k])
            | (v != d1[k])
        )
    return True


@_loops.kernel
def mark(labels: Any, frame: Frame, bits: Any, first: int, last: int, volume: Any) -> None:
    """Write into the padded volume, at each mixed corner, the bits of the classes that meet."""
    box, flat, pad, outside = frame
    rows = np.zeros((4, box[5] + 2), labels.dtype)
    for i in range(first, last):
        for j in range(box[4] + 1):
            out = volume[i + pad[0], j + pad[1]][pad[2] : pad[2] + box[5] + 1]
            if not _mixed_row(labels, box, i, j, flat, outside, rows, out):
                out[:] = 0
                continue
            for k in range(box[5] + 1):
                if out[k]:
                    met = bits[rows[0, k]] | bits[rows[0, k + 1]]
                    for q in range(1, 4):
                        met |= bits[rows[q, k]] | bits[rows[q, k + 1]]
                    out[k] = met


@_loops.part
def _holds(labels: Any, box: Any, flat: Any, i: Any, j: Any, k: Any, c: Any) -> Any:
    """Whether one of the 8 voxels around a corner has the label ``c``."""
    for q in range(8):
        x = i if flat else i - 1 + (q >> 2)
        y, z = j - 1 + ((q >> 1) & 1), k - 1 + (q & 1)
        if (
            0 <= x < box[3]
            and 0 <= y < box[4]
            and 0 <= z < box[5]
            and labels[box[0] + x, box[1] + y, box[2] + z] == c
        ):
            return True
    return False


@_loops.part
def _touches(ignored: Any, box: Any, flat: Any, i: Any, j: Any, k: Any) -> Any:
    """Whether one of the 8 voxels around a corner is ignored."""
    for q in range(8):
        x = i if flat else i - 1 + (q >> 2)
        if is_ignored(ignored, box, x, j - 1 + ((q >> 1) & 1), k - 1 + (q & 1)):
            return True
    return False


@_loops.part
def _code(rows: Any, k: Any, c: Any) -> Any:
    """Bits of the corners of a cell that have the label ``c``."""
    code = 0
    for n in range(8):
        if rows[n >> 1, k + (n & 1)] == c:
            code |= 1 << n
    return code


@_loops.kernel
def search(labels: Any, other: Any, frame: Frame, sought: Sought, first: int, last: int) -> Any:
    """Nearest corner of the other map with the same class for each one of some slices.

    Several classes may share a bit; then a corner with the bit is looked up in the ``other`` map.
    """
    box, flat, pad, outside = frame
    ignored, wanted, bits, shape, volume, near = sought
    offsets, steps, mm, _, _, _ = near
    sole = np.zeros(256, np.int64)
    for c in range(bits.size):
        sole[bits[c]] += 1
    rows = np.zeros((4, box[5] + 2), labels.dtype)
    mixed = np.empty(box[5] + 1, np.uint8)
    keys, used = np.empty(1024, np.int64), 0
    places = np.empty(1024, np.uint32)
    seen = np.zeros(wanted.size, np.int64)
    tried, failed = np.zeros(wanted.size, np.int64), np.zeros(wanted.size, np.int64)
    for i in range(first, last):
        for j in range(box[4] + 1):
            if not _mixed_row(labels, box, i, j, flat, outside, rows, mixed):
                continue
            row = ((i + pad[0]) * shape[1] + j + pad[1]) * shape[2] + pad[2]
            last_found = (0, np.int64(0), -1.0)
            for k in range(box[5] + 1):
                if not mixed[k]:
                    continue
                keys = with_room(keys, used, 8)
                places = with_room(places, used, 8)
                place = row + k
                for q in range(8):
                    c = rows[q >> 1, k + (q & 1)]
                    if not wanted[c]:
                        continue
                    code = _code(rows, k, c)
                    if code & ((1 << q) - 1):  # the class had its turn at an earlier voxel
                        continue
                    found = FAR
                    if ignored.size and _touches(ignored, box, flat, i, j, k):
                        found = IGNORED
                    elif worth_a_try(c, seen, tried, failed):
                        bit, n = bits[c], first_step(c, k, last_found, near)
                        while n < offsets.size:
                            if volume[place + offsets[n]] & bit and (
                                sole[bit] == 1
                                or _holds(
                                    other,
                                    box,
                                    flat,
                                    i + steps[n, 0],
                                    j + steps[n, 1],
                                    k + steps[n, 2],
                                    c,
                                )
                            ):
                                break
                            n += 1
                        remember(c, n < offsets.size, tried, failed)
                        last_found = (k, np.int64(c), mm[min(n, offsets.size - 1)])
                        if n < offsets.size:
                            found = n
                    keys[used] = (np.int64(c) << 32) | (code << 16) | found
                    places[used] = place
                    used += 1
    return keys[:used], places[:used]
