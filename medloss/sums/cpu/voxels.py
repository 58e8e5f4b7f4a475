"""What belongs to a voxel beside its logits: weight, label or target, map."""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.sums.cpu import part
from medloss.sums.cpu.rows import fill, load, load_from
from medloss.sums.cpu.scalars import ONE, ZERO
from medloss.sums.cpu.stored import decode
from medloss.sums.cpu.views import BFLOAT16, BYTE, FLOAT16, OWN

Array = Any
MANY_CLASSES = 10
"""From here on voxels are looked up one by one, rather than class by class."""


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
def target_labels(target: Any, labels: Array, b: int, s: int, classes: int, n: int) -> bool:
    """Load class indices; whether all are the same."""
    kind, _, _, _, byte, whole = target
    if kind == BYTE:
        return _load_labels(byte[b, 0, s : s + n], labels, classes, n)
    return _load_labels(whole[b, 0, s : s + n], labels, classes, n)


@part
def _load_labels(source: Array, row: Array, classes: int, n: int) -> bool:
    low, high = np.int32(classes), np.int32(0)
    for i in range(n):
        label = source[i]
        index = np.int32(label) if (label >= 0) & (label < classes) else np.int32(classes)
        row[i] = index
        low = min(low, index)
        high = max(high, index)
    return bool(low == high)


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
