"""Surfaces of voxels: those with a face neighbour of another label, as one sweep finds them all."""

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
def _surface_row(labels: Any, box: Any, i: Any, j: Any, flat: Any, outside: Any, out: Any) -> Any:
    """Write each voxel's label where it is surface, else 0; False if the row is empty."""
    here = label_row(labels, box, i, j, outside)
    n = here.size
    some = here[0]
    for k in range(n):
        some |= here[k]
    if some == 0:
        return False
    before, after = here, here
    if not flat:
        before = label_row(labels, box, i - 1, j, outside)
        after = label_row(labels, box, i + 1, j, outside)
    left = label_row(labels, box, i, j - 1, outside)
    right = label_row(labels, box, i, j + 1, outside)
    for k in range(n):
        c = here[k]
        out[k] = c if (c != before[k]) | (c != after[k]) | (c != left[k]) | (c != right[k]) else 0
    # Two loops over slices, which the compiler turns into vector instructions.
    lower, upper, out_upper = here[: n - 1], here[1:], out[1:]
    for k in range(n - 1):
        out_upper[k] = upper[k] if upper[k] != lower[k] else out_upper[k]
    for k in range(n - 1):
        out[k] = lower[k] if upper[k] != lower[k] else out[k]
    out[0] = here[0]
    out[n - 1] = here[n - 1]
    return True


@_loops.kernel
def mark(labels: Any, frame: Frame, bits: Any, first: int, last: int, volume: Any) -> None:
    """Write the surface of slices ``first`` to ``last`` into the padded volume."""
    box, flat, pad, outside = frame
    for i in range(first, last):
        for j in range(box[4]):
            out = volume[i + pad[0], j + pad[1]][pad[2] : pad[2] + box[5]]
            if not _surface_row(labels, box, i, j, flat, outside, out):
                out[:] = 0


@_loops.part
def _touches(ignored: Any, box: Any, i: Any, j: Any, k: Any) -> Any:
    """Whether a voxel or one of its face neighbours is ignored."""
    return (
        is_ignored(ignored, box, i, j, k)
        or is_ignored(ignored, box, i - 1, j, k)
        or is_ignored(ignored, box, i + 1, j, k)
        or is_ignored(ignored, box, i, j - 1, k)
        or is_ignored(ignored, box, i, j + 1, k)
        or is_ignored(ignored, box, i, j, k - 1)
        or is_ignored(ignored, box, i, j, k + 1)
    )


@_loops.kernel
def search(labels: Any, other: Any, frame: Frame, sought: Sought, first: int, last: int) -> Any:
    """Nearest surface voxel of the same class for each one of some slices."""
    box, flat, pad, outside = frame
    ignored, wanted, _bits, shape, volume, near = sought
    offsets, _, mm, _, _, _ = near
    line = np.empty(box[5], labels.dtype)
    keys, used = np.empty(1024, np.int64), 0
    places = np.empty(1024, np.uint32)
    seen = np.zeros(wanted.size, np.int64)
    tried, failed = np.zeros(wanted.size, np.int64), np.zeros(wanted.size, np.int64)
    for i in range(first, last):
        for j in range(box[4]):
            if not _surface_row(labels, box, i, j, flat, outside, line):
                continue
            keys = with_room(keys, used, box[5])
            places = with_room(places, used, box[5])
            row = ((i + pad[0]) * shape[1] + j + pad[1]) * shape[2] + pad[2]
            last_found = (0, np.int64(0), -1.0)
            for k in range(box[5]):
                c = line[k]
                if not wanted[c]:
                    continue
                place = row + k
                found = FAR
                if ignored.size and _touches(ignored, box, i, j, k):
                    found = IGNORED
                elif worth_a_try(c, seen, tried, failed):
                    n = first_step(c, k, last_found, near) if volume[place] != c else 0
                    while n < offsets.size and volume[place + offsets[n]] != c:
                        n += 1
                    remember(c, n < offsets.size, tried, failed)
                    last_found = (k, np.int64(c), mm[min(n, offsets.size - 1)])
                    if n < offsets.size:
                        found = n
                keys[used] = (np.int64(c) << 32) | found
                places[used] = place
                used += 1
    return keys[:used], places[:used]
