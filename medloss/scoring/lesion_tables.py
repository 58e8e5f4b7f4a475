"""What the objects of two masks share, from their runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloss.objects.component_runs import Runs
from medloss.runtime.compiling import Loops

_loops = Loops("metrics")

Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]
Pairs = NDArray[np.int64]
"""(pairs, 2): number of an object of the reference, and of one of the prediction, from 0."""

_NONE = np.empty((0, 0), np.bool_)


def shared_voxels(
    reference: Runs, numbers: Numbers, prediction: Runs, ignored: Mask | None
) -> tuple[Pairs, NDArray[np.int64]]:
    """Every pair of objects that share a voxel that counts, in order, and how many they share.

    Args:
        reference: runs of the reference.
        numbers: of the object that each of them belongs to.
        prediction: objects of the prediction.
        ignored: rows of voxels that do not count, or ``None``.
    """
    keys, lengths = _overlaps(
        (reference.first, reference.begin, reference.end, numbers),
        (prediction.first, prediction.begin, prediction.end, prediction.number),
        prediction.count,
        _NONE if ignored is None else ignored,
    )
    pairs, which = np.unique(keys, return_inverse=True)
    shared = np.bincount(which, weights=lengths, minlength=len(pairs)).astype(np.int64)
    return np.stack(np.divmod(pairs, max(prediction.count, 1)), axis=1), shared


def centre_pairs(
    reference: Runs, numbers: Numbers, prediction: Runs, ignored: Mask | None
) -> Pairs:
    """Pairs in which a voxel nearest to the centre of the predicted object lies in the other one.

    The voxels of the object itself are asked: the centre of a ring lies outside of it. Several may
    be equally near, as in a cube of even sides.
    """
    found = _centres(
        (reference.first, reference.begin, reference.end, numbers),
        (prediction.first, prediction.begin, prediction.end, prediction.number),
        (prediction.shape[1], prediction.count),
        _NONE if ignored is None else ignored,
    )
    pairs: Pairs = np.unique(found, axis=0)
    return pairs


@_loops.kernel
def _overlaps(reference, prediction, many, ignored):  # type: ignore[no-untyped-def]
    """Key of the pair, and voxels, of each stretch that two runs share."""
    first_a, begin_a, end_a, number_a = reference
    first_b, begin_b, end_b, number_b = prediction
    keys, lengths, n = np.empty(256, np.int64), np.empty(256, np.int64), 0
    for r in range(len(first_a) - 1):
        a, b = first_a[r], first_b[r]
        while a < first_a[r + 1] and b < first_b[r + 1]:
            start, stop = max(begin_a[a], begin_b[b]), min(end_a[a], end_b[b])
            length = max(stop - start, 0)
            if ignored.size:
                for z in range(start, stop):
                    length -= ignored[r, z]
            if length > 0:
                if n == len(keys):
                    keys = np.concatenate((keys, np.empty_like(keys)))
                    lengths = np.concatenate((lengths, np.empty_like(lengths)))
                keys[n], lengths[n] = np.int64(number_a[a]) * many + number_b[b], length
                n += 1
            if end_a[a] < end_b[b]:
                a += 1
            else:
                b += 1
    return keys[:n], lengths[:n]


@_loops.kernel
def _centres(reference, prediction, sizes, ignored):  # type: ignore[no-untyped-def]
    """For each predicted object, the objects under its voxels that are nearest to its centre."""
    first_a, begin_a, end_a, number_a = reference
    first_b, begin_b, end_b, number_b = prediction
    depth, many = sizes
    sums, least = np.zeros((many, 4)), np.full(many, np.inf)
    pairs, n = np.empty((256, 2), np.int64), 0
    for step in range(3):  # where the centres are, how near a voxel is, which voxels are as near
        for r in range(len(first_b) - 1):
            x, y = r // depth, r % depth
            for run in range(first_b[r], first_b[r + 1]):
                p = number_b[run]
                s = sums[p]
                for z in range(begin_b[run], end_b[run]):
                    if ignored.size and ignored[r, z]:
                        continue
                    if step == 0:
                        s[0] += x
                        s[1] += y
                        s[2] += z
                        s[3] += 1
                        continue
                    away = (x - s[0] / s[3]) ** 2 + (y - s[1] / s[3]) ** 2 + (z - s[2] / s[3]) ** 2
                    if step == 1:
                        least[p] = min(least[p], away)
                    elif away <= least[p] + 1e-6:
                        for a in range(first_a[r], first_a[r + 1]):
                            if begin_a[a] <= z < end_a[a]:
                                if n == len(pairs):
                                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                                pairs[n, 0], pairs[n, 1] = number_a[a], p
                                n += 1
    return pairs[:n]
