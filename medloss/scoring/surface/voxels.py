"""Surfaces of voxels: those with a neighbour of another label, as one sweep finds them all."""

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
def _surface_row(
    labels: Any, box: Any, i: Any, j: Any, flat: Any, outside: Any, corners: Any, edge: Any
) -> Any:
    """Write something but 0 where a voxel is surface; False if the row is empty."""
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
    _compare(here, before, after, left, right, edge)
    if corners:
        for a in range(0 if flat else -1, 1 if flat else 2):
            for b in range(-1, 2):
                if a or b:
                    _compare_beside(here, label_row(labels, box, i + a, j + b, outside), edge)
    return True


@_loops.part
def _compare(here: Any, before: Any, after: Any, left: Any, right: Any, edge: Any) -> None:
    """Outside of the row is no label."""
    n = here.size
    # Slices, which the compiler turns into vector instructions.
    inner, lower, upper = here[1 : n - 1], here[: n - 2], here[2:]
    a, b, c, d = before[1 : n - 1], after[1 : n - 1], left[1 : n - 1], right[1 : n - 1]
    out = edge[1 : n - 1]
    for k in range(n - 2):
        v = inner[k]
        differs = (
            (v ^ lower[k]) | (v ^ upper[k]) | (v ^ a[k]) | (v ^ b[k]) | (v ^ c[k]) | (v ^ d[k])
        )
        out[k] = differs if v else 0
    edge[0], edge[n - 1] = here[0], here[n - 1]


@_loops.part
def _compare_beside(here: Any, row: Any, edge: Any) -> None:
    """Add the neighbours in another row that are one voxel off along it."""
    n = here.size
    inner, lower, upper, out = here[1 : n - 1], row[: n - 2], row[2:], edge[1 : n - 1]
    same = row[1 : n - 1]
    for k in range(n - 2):
        v = inner[k]
        differs = (v ^ lower[k]) | (v ^ same[k]) | (v ^ upper[k])
        if v and differs:
            out[k] = v


@_loops.part
def _touches(ignored: Any, box: Any, i: Any, j: Any, k: Any, corners: Any) -> Any:
    """Whether a voxel or one of its neighbours is ignored."""
    if corners:
        for place in range(27):
            if is_ignored(
                ignored, box, i + place // 9 - 1, j + place // 3 % 3 - 1, k + place % 3 - 1
            ):
                return True
        return False
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
def collect(labels: Any, frame: Frame, sought: Sought, first: int, last: int) -> Any:
    """Key and place of each surface voxel in some slices."""
    box, flat, pad, outside, corners = frame
    ignored, wanted, shape = sought.ignored, sought.wanted, sought.shape
    edge = np.zeros((box[5] + 7) // 8 * 8, labels.dtype)
    words = edge.view(np.uint64)  # most voxels are no surface: many are passed over at once
    width = edge.size // words.size
    keys, used = np.empty(1024, np.int64), 0
    places = np.empty(1024, np.uint32)
    for i in range(first, last):
        for j in range(box[4]):
            if not _surface_row(labels, box, i, j, flat, outside, corners, edge):
                continue
            keys = with_room(keys, used, box[5])
            places = with_room(places, used, box[5])
            here = label_row(labels, box, i, j, outside)
            row = ((i + pad[0]) * shape[1] + j + pad[1]) * shape[2] + pad[2]
            for word in range(words.size):
                if words[word] == 0:
                    continue
                for k in range(width * word, width * (word + 1)):
                    if edge[k] and wanted[here[k]]:
                        keys[used] = np.int64(here[k]) << 32
                        if ignored.size and _touches(ignored, box, i, j, k, corners):
                            keys[used] |= IGNORED
                        places[used] = row + k
                        used += 1
    return keys[:used], places[:used]


@_loops.kernel
def mark(keys: Any, places: Any, bits: Any, volume: Any) -> None:
    """Write the class of each surface voxel into the volume."""
    for n in range(keys.size):
        volume[places[n]] = keys[n] >> 32


@_loops.kernel
def search(keys: Any, places: Any, _other: Any, _frame: Frame, sought: Sought) -> None:
    """Write into each key the bin of the nearest surface voxel of the same class."""
    volume, near = sought.volume, sought.near
    offsets, _, mm, _, _, _ = near
    credit = np.full(sought.wanted.size, CREDIT)
    last_found = (np.int64(0), np.int64(0), -1.0)
    for m in range(keys.size):
        if keys[m] & FAR == IGNORED:
            continue
        c, place = keys[m] >> 32, np.int64(places[m])
        n = FAR
        if volume[place] == c:
            n = 0
            last_found = (place, c, 0.0)
        elif worth_a_try(c, credit):
            start = first_step(c, place, last_found, near)
            n = start
            while n < offsets.size and volume[place + offsets[n]] != c:
                n += 1
            last_found = (place, c, mm[min(n, offsets.size - 1)])
            pay(c, n - start, n < offsets.size, credit)
            n = n if n < offsets.size else FAR
        keys[m] |= n
