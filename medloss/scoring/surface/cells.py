"""Surfels: elements at the corners of voxels whose cell holds more than one label."""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.runtime.compiling import Loops
from medloss.scoring.surface.grid import (
    CREDIT,
    FAR,
    IGNORED,
    Frame,
    Sought,
    first_step,
    is_ignored,
    label_row,
    pay,
    with_room,
    worth_a_try,
)

_loops = Loops("metrics")


@_loops.part
def _rows(labels: Any, box: Any, i: Any, j: Any, flat: Any, outside: Any) -> Any:
    """The four rows of voxels around a line of corners."""
    before = i if flat else i - 1
    return (
        label_row(labels, box, before, j - 1, outside),
        label_row(labels, box, before, j, outside),
        label_row(labels, box, i, j - 1, outside),
        label_row(labels, box, i, j, outside),
    )


@_loops.part
def _mixed_row(rows: Any, differs: Any, out: Any) -> Any:
    """Write something but 0 where the 8 voxels around a corner differ; False if all are empty.

    Corner ``k`` lies between the voxels ``k - 1`` and ``k``.
    """
    a, b, c, d = rows
    n = a.size
    if not _compare(a, b, c, d, differs):
        return False
    _join(a[: n - 1], a[1:], differs[: n - 1], differs[1:], out[1:n])
    # Outside of the box is no label.
    out[0], out[n] = differs[0] | a[0], differs[n - 1] | a[n - 1]
    return True


# The compiler turns these into vector instructions.
@_loops.part
def _compare(a: Any, b: Any, c: Any, d: Any, out: Any) -> Any:
    some = a[0]
    for k in range(a.size):
        v = a[k]
        differs = (v ^ b[k]) | (v ^ c[k]) | (v ^ d[k])
        out[k] = differs
        some |= v | differs
    return some != 0


@_loops.part
def _join(lower: Any, upper: Any, below: Any, above: Any, out: Any) -> None:
    for k in range(lower.size):
        out[k] = below[k] | above[k] | (lower[k] ^ upper[k])


@_loops.part
def _touches(ignored: Any, box: Any, flat: Any, i: Any, j: Any, k: Any) -> Any:
    """Whether one of the 8 voxels around a corner is ignored."""
    for q in range(8):
        x = i if flat else i - 1 + (q >> 2)
        if is_ignored(ignored, box, x, j - 1 + ((q >> 1) & 1), k - 1 + (q & 1)):
            return True
    return False


@_loops.kernel
def collect(labels: Any, frame: Frame, sought: Sought, first: int, last: int) -> Any:
    """Key and place of each mixed corner in some slices, for each of the classes that meet there.

    The bits of a code are the voxels around the corner that have the class.
    """
    box, flat, pad, outside, _ = frame
    ignored, wanted, shape = sought.ignored, sought.wanted, sought.shape
    n = box[5]
    differs = np.empty(n, labels.dtype)
    mixed = np.zeros(n // 8 * 8 + 8, labels.dtype)
    words = mixed.view(np.uint64)  # most corners are not mixed: many are passed over at once
    width = mixed.size // words.size
    cell = np.zeros(8, np.int64)
    keys, used = np.empty(1024, np.int64), 0
    places = np.empty(1024, np.uint32)
    for i in range(first, last):
        for j in range(box[4] + 1):
            rows = _rows(labels, box, i, j, flat, outside)
            if not _mixed_row(rows, differs, mixed):
                continue
            row = ((i + pad[0]) * shape[1] + j + pad[1]) * shape[2] + pad[2]
            for word in range(words.size):
                if words[word] == 0:
                    continue
                keys = with_room(keys, used, 64)
                places = with_room(places, used, 64)
                for k in range(width * word, width * (word + 1)):
                    if not mixed[k]:
                        continue
                    for q in range(2):
                        at = k - 1 + q
                        within = 0 <= at < n
                        cell[q] = rows[0][at] if within else 0
                        cell[q + 2] = rows[1][at] if within else 0
                        cell[q + 4] = rows[2][at] if within else 0
                        cell[q + 6] = rows[3][at] if within else 0
                    found = 0
                    if ignored.size and _touches(ignored, box, flat, i, j, k):
                        found = IGNORED
                    left = 255
                    for q in range(8):
                        c = cell[q]
                        if not (left >> q & 1 and wanted[c]):
                            continue
                        code = 0
                        for other in range(q, 8):
                            code |= int(cell[other] == c) << other
                        left &= ~code
                        keys[used] = (c << 32) | (code << 16) | found
                        places[used] = row + k
                        used += 1
    return keys[:used], places[:used]


@_loops.kernel
def mark(keys: Any, places: Any, bits: Any, volume: Any) -> None:
    """Write into the volume, at each mixed corner, the bits of the classes that meet."""
    for n in range(keys.size):
        volume[places[n]] |= bits[keys[n] >> 32]


@_loops.part
def _holds(labels: Any, frame: Any, shape: Any, place: Any, c: Any) -> Any:
    """Whether one of the 8 voxels around a corner has the label ``c``."""
    box, flat, pad, _, _ = frame
    row = place // shape[2]
    i, j, k = row // shape[1] - pad[0], row % shape[1] - pad[1], place % shape[2] - pad[2]
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


@_loops.kernel
def search(keys: Any, places: Any, other: Any, frame: Frame, sought: Sought) -> None:
    """Write into each key the bin of the nearest corner of the other map with the same class.

    Several classes may share a bit; then a corner with the bit is looked up in the ``other`` map.
    """
    bits, shape, volume, near = sought.bits, sought.shape, sought.volume, sought.near
    offsets, _, mm, _, _, _ = near
    sole = np.zeros(256, np.int64)
    for bit in bits:
        sole[bit] += 1
    credit = np.full(bits.size, CREDIT)
    last_found = (np.int64(0), np.int64(0), -1.0)
    for m in range(keys.size):
        if keys[m] & FAR == IGNORED:
            continue
        c, place = keys[m] >> 32, np.int64(places[m])
        if not worth_a_try(c, credit):
            keys[m] |= FAR
            continue
        bit, start = bits[c], first_step(c, place, last_found, near)
        n = start
        while n < offsets.size:
            if volume[place + offsets[n]] & bit and (
                sole[bit] == 1 or _holds(other, frame, shape, place + offsets[n], c)
            ):
                break
            n += 1
        last_found = (place, c, mm[min(n, offsets.size - 1)])
        pay(c, n - start, n < offsets.size, credit)
        keys[m] |= n if n < offsets.size else FAR
