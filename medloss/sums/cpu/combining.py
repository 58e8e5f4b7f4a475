"""The algebra of ratios of class sums, compiled: the value and its slopes in one walk, in float64.

In torch it is a dozen operations there and as many back, each dearer than all of its arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.sums.cpu import exact_kernel, exact_part

Array = Any
MEAN, TOTAL, POOLED = range(3)
"""What a ratio is of: each sample and class, all of them together, the weighted classes of each."""


@exact_kernel
def combine(
    parts: Array, kinds: Array, above: Array, below: Array, numbers: Array, v_at: int,
    sums: Array, by_sums: Array,
) -> float:  # fmt: skip
    """The weighted sum of all ratios.

    Args:
        parts: sums of blocks, (blocks, K, C + 1); of each sample equally many, in their order.
        kinds: of each ratio: which of the three, first class that counts, whether samples are added
            up first, exponent of the volumes, position of Σy and of Σp.
        above: factors of the sums on top, (ratios, K).
        below: likewise.
        numbers: weight, and what is added above and below.
        v_at: position of Σ1, which is summed once for all classes, or -1.
        sums: (B, K, C), to be filled, as is what follows.
        by_sums: (B, K, C + 1), zeros at first.
    """
    batch = sums.shape[0]
    _of_samples(parts, v_at, sums)
    whole = 0.0
    for r in range(len(kinds)):
        kind, first, pooled = kinds[r, 0], kinds[r, 1], kinds[r, 2]
        samples = batch if pooled else 1
        weight = numbers[r, 0]
        if kind == TOTAL:
            value = _total(sums, first, above[r], below[r], weight, by_sums)
        else:
            value = 0.0
            share = weight * samples / batch
            for b in range(0, batch, samples):
                if kind == MEAN:
                    value += _mean(
                        sums, b, b + samples, first, above[r], below[r], numbers[r], share, by_sums
                    )
                else:
                    value += _pooled(
                        sums, b, b + samples, first, above[r], below[r], numbers[r], share, by_sums,
                        kinds[r, 3], kinds[r, 4], kinds[r, 5], v_at,
                    )  # fmt: skip
            value *= samples / batch
        whole += weight * value
    return whole


@exact_part
def _of_samples(parts: Array, v_at: int, sums: Array) -> None:
    # in the order of the blocks, so that the number of threads changes nothing
    each = len(parts) // len(sums)
    for b in range(len(sums)):
        for k in range(sums.shape[1]):
            for c in range(sums.shape[2]):
                total = 0.0
                for block in range(b * each, (b + 1) * each):
                    total += parts[block, k, 0 if k == v_at else c]
                sums[b, k, c] = total


@exact_part
def _form(factors: Array, sums: Array, begin: int, end: int, c: int, first: int) -> Any:
    """A linear form of the sums of a class; 0 times a NaN of others is none."""
    total = 0.0
    for k in range(len(factors)):
        if factors[k] != 0:
            total += factors[k] * _counted(sums, begin, end, k, c, first)
    return total


@exact_part
def _counted(sums: Array, begin: int, end: int, k: int, c: int, first: int) -> Any:
    total = 0.0
    for b in range(begin, end):
        total += sums[b, k, c]
        if first > 0 and sums[b, k, 0] != sums[b, k, 0]:
            total = sums[b, k, 0]  # a NaN of the background stays
    return total


@exact_part
def _add(by_sums: Array, begin: int, end: int, c: int, factors: Array, slope: float) -> None:
    for k in range(len(factors)):
        if factors[k] != 0:
            for b in range(begin, end):
                by_sums[b, k, c] += factors[k] * slope


@exact_part
def _mean(
    sums: Array, begin: int, end: int, first: int, above: Array, below: Array, numbers: Array,
    share: float, by_sums: Array,
) -> Any:  # fmt: skip
    classes = sums.shape[2]
    each = share / (classes - first)
    value = 0.0
    for c in range(first, classes):
        bottom = _form(below, sums, begin, end, c, first) + numbers[2]
        found = (_form(above, sums, begin, end, c, first) + numbers[1]) / bottom
        value += 1 - found
        _add(by_sums, begin, end, c, above, -each / bottom)
        _add(by_sums, begin, end, c, below, found * each / bottom)
    return value / (classes - first)


@exact_part
def _total(
    sums: Array, first: int, above: Array, below: Array, weight: float, by_sums: Array
) -> float:
    batch, classes = sums.shape[0], sums.shape[2]
    top, bottom = 0.0, 0.0
    for b in range(batch):
        for c in range(first, classes):
            top += _form(above, sums, b, b + 1, c, first)
            bottom += _form(below, sums, b, b + 1, c, first)
    if bottom == 0 and top == top:
        return 0.0
    for c in range(first, classes):
        _add(by_sums, 0, batch, c, above, weight / bottom)
    return top / bottom


@exact_part
def _pooled(
    sums: Array, begin: int, end: int, first: int, above: Array, below: Array, numbers: Array,
    share: float, by_sums: Array, exponent: int, t_at: int, p_at: int, v_at: int,
) -> Any:  # fmt: skip
    """Its weights w = (Σy)^−exponent, or the largest of them for a class that is absent."""
    classes = sums.shape[2]
    weights = np.zeros(classes)
    largest, volume, voxels = 0.0, 0.0, 0.0
    for c in range(first, classes):
        t = _counted(sums, begin, end, t_at, c, first)
        volume += t
        voxels += _counted(sums, begin, end, v_at, c, first)
        weights[c] = 0.0 if t == 0 else t ** -float(exponent)
        largest = max(largest, weights[c])
    if volume == 0:  # the mean probability
        if voxels == 0:
            return 0.0
        value = 0.0
        for c in range(first, classes):
            value += _counted(sums, begin, end, p_at, c, first)
            for b in range(begin, end):
                by_sums[b, p_at, c] += share / voxels
        return value / voxels
    whole = 0.0
    for c in range(first, classes):
        weights[c] = largest if weights[c] == 0 else weights[c]
        whole += weights[c]
    top, bottom = numbers[1], numbers[2]
    for c in range(first, classes):
        weights[c] /= whole
        top += weights[c] * _form(above, sums, begin, end, c, first)
        bottom += weights[c] * _form(below, sums, begin, end, c, first)
    found = top / bottom
    for c in range(first, classes):
        _add(by_sums, begin, end, c, above, -share * weights[c] / bottom)
        _add(by_sums, begin, end, c, below, share * weights[c] * found / bottom)
    return 1 - found
