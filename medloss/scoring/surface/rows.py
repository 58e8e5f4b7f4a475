"""Parts of kernels that read label maps row by row, and lists that grow."""

from __future__ import annotations

import numpy as np

from medloss.runtime.compiling import Loops

_loops = Loops("metrics")

FAR = 0xFFFF
"""Bin of an element whose distance the search did not find."""

IGNORED = 0xFFFE
"""Bin of an element in or beside the ignored region: others may be near it, it does not count."""


@_loops.part
def label_row(labels, box, i, j, outside):  # type: ignore[no-untyped-def]
    """Row of a box, which is at ``box[:3]`` and has the size ``box[3:]``; empty outside of it."""
    if i < 0 or j < 0 or i >= box[3] or j >= box[4]:
        return outside[: box[5]]
    return labels[box[0] + i, box[1] + j][box[2] : box[2] + box[5]]


@_loops.part
def is_ignored(ignored, box, i, j, k):  # type: ignore[no-untyped-def]
    """Whether a voxel of the box, or one beside it, is in the ignored region."""
    x, y, z = box[0] + i, box[1] + j, box[2] + k
    if x < 0 or y < 0 or z < 0:
        return False
    if x >= ignored.shape[0] or y >= ignored.shape[1] or z >= ignored.shape[2]:
        return False
    return ignored[x, y, z] != 0


@_loops.part
def with_room(array, used, wanted):  # type: ignore[no-untyped-def]
    """The array, or one of more than twice its size with the same ``used`` elements."""
    if array.size - used >= wanted:
        return array
    larger = np.empty(2 * array.size + wanted, array.dtype)
    for n in range(used):  # a slice brings numba's error texts with it, 2 s of compiling
        larger[n] = array[n]
    return larger


@_loops.part
def worth_a_try(c, seen, tried, failed):  # type: ignore[no-untyped-def]
    """Whether to search near an element of class ``c``, or to leave it to the far search at once.

    Where more than 2 of 5 searches of the class failed lately, only every 16th element is tried.
    """
    seen[c] += 1
    return failed[c] < 24 or 5 * failed[c] < 2 * tried[c] or seen[c] % 16 == 0


@_loops.part
def remember(c, found, tried, failed):  # type: ignore[no-untyped-def]
    """Count a search; what is long ago counts less."""
    tried[c] += 1
    if not found:
        failed[c] += 1
    if tried[c] == 256:
        tried[c] //= 2
        failed[c] //= 2
