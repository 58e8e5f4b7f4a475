"""Loops over one row: the voxels of one class within one tile, all of it in a near cache.

Each loop is a small function on one-dimensional arrays because that is what the compiler turns
into vector instructions; loops inside a larger kernel, or with two indices, stay scalar. Those at
the end read what belongs to a voxel beside its logits: weight, label or target, map.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.sums.cpu import part
from medloss.sums.cpu.scalars import ONE, ZERO, exp, log, log1p
from medloss.sums.cpu.stored import BFLOAT16, BYTE, FLOAT16, LONG, OWN, decode, encode
from medloss.sums.numeric import KNEE

Array = Any
MANY_CLASSES = 10
"""From here on voxels are taken one by one, to or from their classes, not class by class."""


@part
def load(source: Array, row: Array, n: int) -> None:
    """Copy, from whatever dtype."""
    for i in range(n):
        row[i] = decode(source[i])


@part
def store(target: Array, row: Array, weight: Array, n: int) -> None:
    """Weight, and copy to whatever dtype."""
    for i in range(n):
        target[i] = encode(row[i] * weight[i], target)


@part
def load_from(stored: Any, b: int, c: int, s: int, row: Array, n: int) -> None:
    """Copy the voxels of a class from a tensor of any dtype: :mod:`medloss.sums.cpu.stored`."""
    if stored[0] == OWN:
        load(stored[1][b, c, s : s + n], row, n)
    else:
        load_converted(stored, b, c, s, row, n)


@part
def load_converted(stored: Any, b: int, c: int, s: int, row: Array, n: int) -> None:
    """The same from another dtype than that of the row."""
    kind, _, bfloat16, float16, byte, _ = stored
    if kind == BFLOAT16:
        load(bfloat16[b, c, s : s + n], row, n)
    elif kind == FLOAT16:
        load(float16[b, c, s : s + n], row, n)
    else:
        load(byte[b, c, s : s + n], row, n)


@part
def store_to(stored: Any, b: int, c: int, s: int, row: Array, weight: Array, n: int) -> None:
    """Weight, and copy to the voxels of a class of a floating tensor of any dtype."""
    kind, own, bfloat16, float16, _, _ = stored
    if kind == OWN:
        store(own[b, c, s : s + n], row, weight, n)
    elif kind == BFLOAT16:
        store(bfloat16[b, c, s : s + n], row, weight, n)
    else:
        store(float16[b, c, s : s + n], row, weight, n)


@part
def fill(row: Array, value: Any, n: int) -> None:
    """One value."""
    for i in range(n):
        row[i] = value


@part
def dot(a: Array, b: Array, n: int) -> Any:
    """Σ a b."""
    result = a.dtype.type(0)
    for i in range(n):
        result += a[i] * b[i]
    return result


@part
def total(a: Array, n: int) -> Any:
    """Σ a."""
    result = a.dtype.type(0)
    for i in range(n):
        result += a[i]
    return result


@part
def multiply(a: Array, b: Array, n: int) -> None:
    """Into ``a``: a b."""
    for i in range(n):
        a[i] *= b[i]


@part
def add_scaled(a: Array, b: Array, factor: Any, n: int) -> None:
    """Into ``a``: a + factor b."""
    for i in range(n):
        a[i] += factor * b[i]


@part
def complement(p: Array, q: Array, n: int) -> None:
    """Into ``q``: 1 − p, or 0 where rounding has left p above 1."""
    for i in range(n):
        difference = ONE - p[i]
        q[i] = ZERO if difference < ZERO else difference


@part
def logarithm(p: Array, row: Array, n: int) -> None:
    """Into ``row``: log p, finite at 0."""
    for i in range(n):
        row[i] = log(p[i])


@part
def sigmoid(x: Array, p: Array, q: Array, lp: Array, n: int) -> None:
    """p, 1 − p and their logarithms, each to full relative precision."""
    for i in range(n):
        lp[i] = exp(-abs(x[i]))
    for i in range(n):
        larger = ONE / (ONE + lp[i])
        smaller = lp[i] * larger
        p[i] = smaller if x[i] < ZERO else larger
        q[i] = larger if x[i] < ZERO else smaller


@part
def log_sigmoid(x: Array, lp: Array, lq: Array, n: int) -> None:
    """Logarithms of p and 1 − p, after :func:`sigmoid` has left exp(−|x|) in ``lp``."""
    for i in range(n):
        u = log1p(lp[i])
        lp[i] = min(x[i], ZERO) - u
        lq[i] = -max(x[i], ZERO) - u


@part
def power(row: Array, exponent: Any, n: int) -> None:
    """To an exponent, for values >= 0, as :func:`medloss.sums.numeric.power`."""
    if exponent == 2:
        for i in range(n):
            row[i] *= row[i]
    elif exponent == 0:
        fill(row, ONE, n)
    elif exponent < 1:
        knee = row.dtype.type(KNEE)
        slope = np.exp(np.log(knee) * (exponent - ONE))
        for i in range(n):
            row[i] = exp(exponent * log(row[i])) if row[i] > knee else row[i] * slope
    elif exponent > 1:
        for i in range(n):
            row[i] = exp(exponent * log(row[i])) if row[i] > ZERO else row[i]


@part
def power_slope(row: Array, exponent: Any, n: int) -> None:
    """To the derivative of :func:`power`."""
    if exponent == 2:
        for i in range(n):
            row[i] += row[i]
    elif exponent == 1 or exponent == 0:
        fill(row, exponent, n)
    elif exponent < 1:
        knee = row.dtype.type(KNEE)
        log_knee = np.log(knee)
        slope = np.exp(log_knee * (exponent - ONE))
        for i in range(n):  # in two factors, since exp takes no positive argument
            falling = exponent * slope * exp((exponent - ONE) * (log(row[i]) - log_knee))
            row[i] = falling if row[i] > knee else slope
    else:
        for i in range(n):
            row[i] = exponent * exp((exponent - ONE) * log(row[i])) if row[i] > ZERO else row[i]


@part
def weight_row(mask: Array, b: int, s: int, w: Array, n: int) -> None:
    """The weights of the voxels; without a mask (an empty one) they stay."""
    if len(mask):
        load(mask[b, s : s + n], w, n)


@part
def clear_row(row: Array, w: Array, n: int) -> None:
    """0 where the weight is 0, so that not even a NaN there has influence."""
    for i in range(n):
        row[i] = ZERO if w[i] == ZERO else row[i]


@part
def map_row(maps: Any, index: int, b: int, c: int, s: int, f: Array, n: int) -> None:
    """The map that a term names, if it names one."""
    if maps is not None:
        if index >= 0:
            load_from(maps[index], b, c, s, f, n)


@part
def map_of_labels(
    stored: Any, classes: int, b: int, s: int, labels: Array, same: bool, f: Array, n: int
) -> bool:
    """What a map says of the class of each voxel, 0 of no class; whether it is not all 0."""
    kind, own, bfloat16, float16, byte, _ = stored
    fill(f, ZERO, n)
    if same:
        if labels[0] < classes:
            load_from(stored, b, labels[0], s, f, n)
    elif kind == OWN:
        _gather(own[b], classes, s, labels, f, n)
    elif kind == BFLOAT16:
        _gather(bfloat16[b], classes, s, labels, f, n)
    elif kind == FLOAT16:
        _gather(float16[b], classes, s, labels, f, n)
    else:
        _gather(byte[b], classes, s, labels, f, n)
    return _is_something(f, n)


@part
def _gather(stored: Array, classes: int, s: int, labels: Array, f: Array, n: int) -> None:
    if classes < MANY_CLASSES:
        for c in range(classes):
            _load_where(stored[c, s : s + n], labels, labels.dtype.type(c), f, n)
    else:
        for i in range(n):
            label = np.uint32(labels[i])  # unsigned: an index from the end is not expected
            if label < classes:
                f[i] = decode(stored[label, s + i])


@part
def _load_where(stored: Array, labels: Array, label: Any, f: Array, n: int) -> None:
    for i in range(n):
        f[i] = decode(stored[i]) if labels[i] == label else f[i]


@part
def _is_something(row: Array, n: int) -> bool:
    sizes = row.dtype.type(0)
    for i in range(n):
        sizes += abs(row[i])
    return bool(sizes != ZERO)


@part
def target_labels(
    target: Any, is_index: bool, labels: Array, b: int, s: int, classes: int, n: int
) -> tuple[bool, bool]:
    """Load class indices, if it is those; whether all are the same, and whether one is no class."""
    kind, own, _, _, byte, whole = target
    low, high = np.int32(0), np.int32(-1)
    if is_index:
        if kind == BYTE:
            low, high = _load_labels(byte[b, 0, s : s + n], labels, classes, n)
        elif kind == LONG:
            low, high = _load_labels(whole[b, 0, s : s + n], labels, classes, n)
        else:
            low, high = _load_labels(own[b, 0, s : s + n], labels, classes, n)
    return low == high, high == classes


@part
def _load_labels(source: Array, row: Array, classes: int, n: int) -> Any:
    low, high = np.int32(classes), np.int32(0)
    for i in range(n):
        label = source[i]
        index = np.int32(label)
        known = (label >= 0) & (label < classes) & (index == label)  # a float may be a fraction
        index = index if known else np.int32(classes)
        row[i] = index
        low = min(low, index)
        high = max(high, index)
    return low, high


@part
def target_row(
    target: Any, is_index: bool, labels: Array, b: int, c: int, s: int, y: Array, n: int
) -> None:
    """The target of one class, from labels that were loaded or from its own channel."""
    if is_index:
        label = labels.dtype.type(c)  # of one width, so that a comparison is one instruction
        for i in range(n):
            y[i] = ONE if labels[i] == label else ZERO
    else:
        load_from(target, b, c, s, y, n)
