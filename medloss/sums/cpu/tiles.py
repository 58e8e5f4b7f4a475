"""Softmax over a tile, every class of some voxels; and sums by true class."""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.sums.cpu import part
from medloss.sums.cpu.rows import (
    MANY_CLASSES,
    clear_row,
    complement,
    fill,
    load,
    load_converted,
    logarithm,
    multiply,
    total,
)
from medloss.sums.cpu.scalars import ONE, ZERO, exp
from medloss.sums.cpu.stored import OWN

Array = Any
NOTHING = np.float32(-np.inf)
FEW_CLASSES = 5
"""Up to this number, values of the true class are selected class by class instead of fetched."""

NEED_Q, NEED_L, NEED_M, NEED_TRUE_L = 1, 2, 4, 8
"""Bits: whether the terms take q = 1 - p, log p, log q; the last one: log p of the true class."""


@part
def clear_tile(mask: Array, w: Array, tile: Array, highest: Array, n: int) -> None:
    """All classes of voxels of weight 0, before the exponentials."""
    if len(mask):
        clear_row(highest, w, n)
        for c in range(len(tile) - 1):
            clear_row(tile[c], w, n)


@part
def load_tile(x: Any, b: int, s: int, n: int, tile: Array, highest: Array) -> None:
    """Copy the logits of sample ``b`` from voxel ``s`` on, and find the highest of each voxel.

    The copy is faster than reading the input twice: the classes of one voxel often lie a multiple
    of the cache's way size apart, so that a dozen of them cannot stay in it together.
    """
    fill(highest, NOTHING, n)
    for c in range(len(tile) - 1):
        if x[0] == OWN:
            _load_max(x[1][b, c, s : s + n], tile[c], highest, n)
        else:
            load_converted(x, b, c, s, tile[c], n)
            _load_max(tile[c], tile[c], highest, n)


@part
def _load_max(source: Array, row: Array, highest: Array, n: int) -> None:
    # A NaN leaves the maximum as it is and shows up in the exponentials.
    for i in range(n):
        value = source[i]
        row[i] = value
        highest[i] = value if value > highest[i] else highest[i]


@part
def exponentials(both: Array, highest: Array, rows: Array, needs: int, n: int) -> None:
    """First tile ← exp(logits − highest); the reciprocal and, if needed, log of its sum.

    The logits are in the last tile, which may be the first.
    """
    norm, inverse, log_norm = rows[0], rows[1], rows[2]
    tile, kept = both[0], both[-1]
    fill(norm, ZERO, n)
    for c in range(len(tile) - 1):
        if len(both) > 1:
            load(kept[c], tile[c], n)
        _exp_total(tile[c], highest, norm, n)
    _reciprocal(norm, inverse, n)
    if needs & (NEED_L | NEED_M | NEED_TRUE_L):
        logarithm(norm, log_norm, n)


@part
def _exp_total(e: Array, highest: Array, norm: Array, n: int) -> None:
    for i in range(n):
        e[i] = exp(e[i] - highest[i])
    for i in range(n):
        norm[i] += e[i]


@part
def _reciprocal(norm: Array, inverse: Array, n: int) -> None:
    for i in range(n):
        inverse[i] = ONE / norm[i]


@part
def log_softmax(row: Array, highest: Array, log_norm: Array, n: int) -> None:
    """Logits to log p, without the error that a large common offset of them would bring."""
    for i in range(n):
        row[i] = (row[i] - highest[i]) - log_norm[i]


@part
def softmax_rows(
    e: Array, x: Array, highest: Array, rows: Array, needs: int, q: Array, lp: Array, lq: Array,
    n: int,
) -> None:  # fmt: skip
    """``e`` ← p, and of 1 − p, log p and log(1 − p) what is needed."""
    multiply(e, rows[1], n)
    if needs & NEED_Q:
        complement(e, q, n)
    if needs & NEED_L:
        load(x, lp, n)
        log_softmax(lp, highest, rows[2], n)
    if needs & NEED_M:
        logarithm(q, lq, n)


@part
def pick(table: Array, labels: Array, row: Array, n: int) -> None:
    """row[i] ← table[labels[i]]."""
    for i in range(n):
        row[i] = table[np.uint32(labels[i])]  # unsigned: an index from the end is not expected


@part
def pick_from_tile(tile: Array, labels: Array, row: Array, n: int) -> None:
    """row[i] ← tile[labels[i], i]."""
    if len(tile) > FEW_CLASSES:
        for i in range(n):
            row[i] = tile[np.uint32(labels[i]), i]
    else:
        fill(row, ZERO, n)
        for c in range(len(tile) - 1):
            _add_where(row, tile[c], labels, labels.dtype.type(c), n)


@part
def _add_where(row: Array, other: Array, labels: Array, label: Any, n: int) -> None:
    for i in range(n):
        row[i] += other[i] if labels[i] == label else ZERO


@part
def add_by_class(
    row: Array, labels: Array, same: bool, classes: int, bins: Array, out: Array, n: int
) -> None:
    """Add each value to the sum of its voxel's class."""
    if same:
        out[labels[0]] += total(row, n)
    elif classes < MANY_CLASSES:
        for c in range(classes):
            out[c] += _total_where(row, labels, labels.dtype.type(c), n)
    else:
        bins[:] = 0
        _scatter(row, labels, bins, n)
        for c in range(classes):
            out[c] += (bins[0, c] + bins[1, c]) + (bins[2, c] + bins[3, c])


@part
def _total_where(a: Array, labels: Array, label: Any, n: int) -> Any:
    result = a.dtype.type(0)
    for i in range(n):
        result += a[i] if labels[i] == label else ZERO
    return result


@part
def _scatter(row: Array, labels: Array, bins: Array, n: int) -> None:
    # Four bins a class: neighbouring voxels, mostly of one class, do not wait for each other.
    whole = n - n % 4
    for i in range(0, whole, 4):
        bins[0, np.uint32(labels[i])] += row[i]
        bins[1, np.uint32(labels[i + 1])] += row[i + 1]
        bins[2, np.uint32(labels[i + 2])] += row[i + 2]
        bins[3, np.uint32(labels[i + 3])] += row[i + 3]
    for i in range(whole, n):
        bins[0, np.uint32(labels[i])] += row[i]
