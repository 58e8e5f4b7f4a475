"""What belongs to a voxel beside its logits: weight, label or target, map."""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.sums.cpu.compiling import part
from medloss.sums.cpu.rows import fill, load
from medloss.sums.cpu.scalars import ONE, ZERO
from medloss.sums.cpu.stored import decode

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
    if index >= 0:
        load(maps[index][b, c, s : s + n], f, n)


@part
def map_of_labels(
    maps: Any, index: int, b: int, s: int, labels: Array, same: bool, f: Array, n: int
) -> bool:
    """What the map says of the class of each voxel, 0 of no class; whether it is not all 0."""
    stored = maps[index][b, :, s : s + n]
    classes = stored.shape[0]
    fill(f, ZERO, n)
    if same:
        if labels[0] < classes:
            load(stored[labels[0]], f, n)
    elif classes < MANY_CLASSES:
        for c in range(classes):
            _load_where(stored[c], labels, labels.dtype.type(c), f, n)
    else:
        for i in range(n):
            label = np.uint32(labels[i])  # unsigned: an index from the end is not expected
            if label < classes:
                f[i] = decode(stored[label, i])
    return _is_something(f, n)


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
def target_labels(target: Array, labels: Array, b: int, s: int, classes: int, n: int) -> bool:
    """Load class indices, if the target holds them; whether all are the same."""
    if target.ndim == 2:
        return _load_labels(target[b, s : s + n], labels, classes, n)
    return False


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
def target_row(target: Array, labels: Array, b: int, c: int, s: int, y: Array, n: int) -> None:
    """The target of one class, from labels that were loaded or from its own channel."""
    if target.ndim == 2:
        label = labels.dtype.type(c)  # of one width, so that a comparison is one instruction
        for i in range(n):
            y[i] = ONE if labels[i] == label else ZERO
    else:
        load(target[b, c, s : s + n], y, n)
