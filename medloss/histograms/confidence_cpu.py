"""Sums over bins of probability on the CPU, in one pass; their gradient in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medloss.histograms.cpu import (
    BLOCKS,
    SIGMOID,
    SOFTMAX,
    Work,
    add_product,
    probabilities,
    through_sigmoid,
    through_softmax,
)
from medloss.runtime.compiling import FAST, Loops
from medloss.runtime.memory import use_large_pages
from medloss.runtime.threads import run
from medloss.sums.cpu.rows import clear_row, fill, store_to, target_labels, target_row, weight_row
from medloss.sums.cpu.scalars import HALF, ONE, ZERO
from medloss.sums.cpu.stored import stored

Array = Any
Kernel = Callable[..., None]
_loops = Loops("sums over bins of probability", fastmath=FAST)
kernel, part = _loops.kernel, _loops.part


def sums(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, bins: int, soft: bool
) -> Tensor:
    """(B, C, 3, bins), or for soft bins two more places, from tensors with one axis of voxels."""
    batch, classes, _ = input.shape
    work = Work(input, target, mask, activation)
    parts = np.zeros((batch * BLOCKS, classes, 3, bins + 2 if soft else bins))

    add: Kernel = _add

    def count(block: int) -> None:
        own = work.scratch()
        add(*work.of(block), *own.tiles, *own.rows_and_labels, bins, soft, parts[block])

    run(len(parts), count)
    # in the order of the blocks, so that the number of threads changes nothing
    return torch.from_numpy(parts.reshape(batch, BLOCKS, *parts.shape[1:]).sum(1))


def slopes(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    activation: str,
    table: Tensor,
    soft: bool,
    out: Tensor,
) -> None:
    """Write to ``out`` the gradient by the input, from :func:`medloss.histograms.confidence.table`.

    Args:
        input: as the others with one axis of voxels.
        target: likewise.
        mask: likewise.
        activation: by name.
        table: (B, C, 3, cells).
        soft: what the cells are.
        out: like the input before its axes were joined.
    """
    work = Work(input, target, mask, activation)
    by_cell = table.detach().numpy().astype(work.dtype)
    written = stored(use_large_pages(out).flatten(2), work.dtype)

    write: Kernel = _slopes

    def look_up(block: int) -> None:
        own = work.scratch()
        write(
            *work.of(block), *own.tiles, *own.rows_and_labels, soft, by_cell[block // BLOCKS],
            written,
        )  # fmt: skip

    run(len(input) * BLOCKS, look_up)


@kernel
def _add(
    x: Any, target: Any, is_index: bool, mask: Array, activation: int, b: int, begin: int, end: int,
    both: Array, rows: Array, labels: Array, bins: int, soft: bool, out: Array,
) -> None:  # fmt: skip
    """Add voxels ``begin`` to ``end`` of sample ``b`` to the sums ``out``."""
    classes, size = out.shape[0], rows.shape[1]
    tile, w, y, share = both[0], rows[3], rows[4], rows[5]
    cell = np.empty(size, np.int32)
    fill(w, ONE, size)
    for s in range(begin, end, size):
        n = min(size, end - s)
        weight_row(mask, b, s, w, n)
        target_labels(target, is_index, labels, b, s, classes, n)
        probabilities(x, b, mask, activation, s, both, rows, n)
        for c in range(classes):
            target_row(target, is_index, labels, b, c, s, y, n)
            if len(mask):
                clear_row(y, w, n)
            _place(tile[c], bins, soft, cell, share, n)
            if soft:
                _add_soft(out[c], cell, share, tile[c], y, w, n)
            else:
                _add_hard(out[c], cell, tile[c], y, w, n)


@kernel
def _slopes(
    x: Any, target: Any, is_index: bool, mask: Array, activation: int, b: int, begin: int, end: int,
    both: Array, rows: Array, labels: Array, soft: bool, table: Array, out: Any,
) -> None:  # fmt: skip
    """Write the gradient by the input, for derivatives by p of ``table`` (C, 3, cells)."""
    classes, size = table.shape[0], rows.shape[1]
    bins = table.shape[2] - 1 if soft else table.shape[2]
    tile, slope, w, y, share, summed = both[0], both[1], rows[3], rows[4], rows[5], rows[6]
    cell = np.empty(size, np.int32)
    fill(w, ONE, size)
    for s in range(begin, end, size):
        n = min(size, end - s)
        weight_row(mask, b, s, w, n)
        target_labels(target, is_index, labels, b, s, classes, n)
        probabilities(x, b, mask, activation, s, both, rows, n)
        fill(summed, ZERO, n)
        for c in range(classes):
            target_row(target, is_index, labels, b, c, s, y, n)
            if len(mask):
                clear_row(y, w, n)
            _place(tile[c], bins, soft, cell, share, n)
            _look_up(table[c], cell, tile[c], y, slope[c], n)
            add_product(summed, tile[c], slope[c], n)
        for c in range(classes):
            if activation == SOFTMAX:
                through_softmax(slope[c], tile[c], summed, n)
            elif activation == SIGMOID:
                through_sigmoid(slope[c], tile[c], n)
            store_to(out, b, c, s, slope[c], w, n)


@part
def _place(p: Array, bins: int, soft: bool, cell: Array, share: Array, n: int) -> None:
    """Cell of each probability, and the share of the upper bin; of a NaN there is a cell, too."""
    scale, last = p.dtype.type(bins), np.int32(bins if soft else bins - 1)
    for i in range(n):
        v = p[i] * scale + HALF if soft else np.ceil(p[i] * scale) - ONE
        k = last if v >= last else np.int32(v) if v > ZERO else np.int32(0)  # so of a NaN
        cell[i] = k
        over = v - p.dtype.type(k)
        share[i] = ONE if over > ONE else ZERO if over < ZERO else over  # a NaN stays one


@part
def _add_hard(out: Array, cell: Array, p: Array, y: Array, w: Array, n: int) -> None:
    for i in range(n):
        k = cell[i]
        out[0, k] += w[i]
        out[1, k] += w[i] * p[i]
        out[2, k] += w[i] * y[i]


@part
def _add_soft(out: Array, cell: Array, share: Array, p: Array, y: Array, w: Array, n: int) -> None:
    for i in range(n):
        k = cell[i]
        upper = w[i] * share[i]
        lower = w[i] - upper
        out[0, k] += lower
        out[0, k + 1] += upper
        out[1, k] += lower * p[i]
        out[1, k + 1] += upper * p[i]
        out[2, k] += lower * y[i]
        out[2, k + 1] += upper * y[i]


@part
def _look_up(table: Array, cell: Array, p: Array, y: Array, slope: Array, n: int) -> None:
    """Derivative by p, for weight 1."""
    for i in range(n):
        k = cell[i]
        slope[i] = table[0, k] + table[1, k] * p[i] + table[2, k] * y[i]
