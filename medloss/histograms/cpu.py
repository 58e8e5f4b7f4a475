"""Error histograms on the CPU, in one pass over the logits; their gradient in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medloss.runtime.compiling import FAST, Loops
from medloss.runtime.memory import use_large_pages
from medloss.runtime.threads import run, scratch
from medloss.sums.cpu import tiles
from medloss.sums.cpu.rows import (
    clear_row,
    fill,
    load,
    load_from,
    multiply,
    sigmoid,
    store_to,
    target_labels,
    target_row,
    weight_row,
)
from medloss.sums.cpu.scalars import HALF, ONE, ZERO
from medloss.sums.cpu.stored import index, stored, view
from medloss.sums.voxels import work_dtype

Array = Any
Kernel = Callable[..., None]
_loops = Loops("error histograms", fastmath=FAST)
kernel, part = _loops.kernel, _loops.part
ROWS = 11
"""Rows of scratch that the kernels need."""
SOFTMAX, SIGMOID = 2, 1
"""Activations by number; 0 is none."""

TILE, LONGEST, SHORTEST = 1 << 17, 4096, 64
"""Elements of a tile, and its voxels at most and at least."""
BLOCKS = 16
"""Of a sample; each has histograms of its own, so their number is small and fixed."""


def histograms(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, bins: int
) -> Tensor:
    """(B, C, 2, bins + 1), from tensors with one axis of voxels."""
    batch, classes, _ = input.shape
    work = Work(input, target, mask, activation)
    parts = np.zeros((batch * BLOCKS, classes, 2, bins + 1))

    add: Kernel = _count

    def count(block: int) -> None:
        own = work.scratch()
        add(*work.of(block), *own.tiles, *own.rows_and_labels, parts[block])

    run(len(parts), count)
    # in the order of the blocks, so that the number of threads changes nothing
    return torch.from_numpy(parts.reshape(batch, BLOCKS, *parts.shape[1:]).sum(1))


def slopes(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, table: Tensor, out: Tensor
) -> None:
    """Write to ``out`` the gradient by the input, from derivatives by the errors of each cell."""
    work = Work(input, target, mask, activation)
    by_cell = table.detach().numpy().astype(work.dtype)
    written = stored(use_large_pages(out).flatten(2), work.dtype)

    write: Kernel = _slopes

    def look_up(block: int) -> None:
        own = work.scratch()
        write(*work.of(block), *own.tiles, *own.rows_and_labels, by_cell[block // BLOCKS], written)

    run(len(input) * BLOCKS, look_up)


class Work:
    """What the kernels need, apart from where they write."""

    def __init__(self, input: Tensor, target: Tensor, mask: Tensor | None, activation: str) -> None:
        _, self.classes, self.voxels = input.shape
        self.dtype = np.float64 if input.itemsize == 8 else np.float32
        is_index = target.shape[1] != self.classes
        none = np.zeros((0, 0), self.dtype)
        self.read = (
            stored(input, self.dtype),
            (index if is_index else stored)(target, self.dtype),
            is_index,
            none if mask is None else view(mask[:, 0].to(work_dtype(input)).contiguous()),
            ("probabilities", "sigmoid", "softmax").index(activation),
        )
        size = max(TILE // (2 * (self.classes + 1)), SHORTEST)
        self.size = min(1 << (size.bit_length() - 1), LONGEST)

    def of(self, block: int) -> tuple[Any, ...]:
        """Arguments for a block: tensors, sample, first voxel and the one after the last."""
        step = -(-self.voxels // (BLOCKS * self.size)) * self.size
        b, at = divmod(block, BLOCKS)
        begin = min(at * step, self.voxels)
        return *self.read, b, begin, min(begin + step, self.voxels)

    def scratch(self) -> Any:
        """For the calling thread."""
        return scratch(self.classes, self.size, 2, ROWS, self.dtype)


@kernel
def _count(
    x: Any, target: Any, is_index: bool, mask: Array, activation: int, b: int, begin: int, end: int,
    both: Array, rows: Array, labels: Array, out: Array,
) -> None:  # fmt: skip
    """Add voxels ``begin`` to ``end`` of sample ``b`` to the histograms ``out``."""
    classes, size, bins = out.shape[0], rows.shape[1], out.shape[2] - 1
    tile, w, y, share, inside = both[0], rows[3], rows[4], rows[5], rows[6]
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
            _place(tile[c], y, bins, cell, share, n)
            if is_index:
                _add_label(out[c], cell, share, y, w, n)
            else:
                _add_soft(out[c], cell, share, y, w, inside, n)


@kernel
def _slopes(
    x: Any, target: Any, is_index: bool, mask: Array, activation: int, b: int, begin: int, end: int,
    both: Array, rows: Array, labels: Array, table: Array, out: Any,
) -> None:  # fmt: skip
    """Write the gradient by the input, for derivatives ``table`` (C, 2, bins) by the errors."""
    classes, size, bins = table.shape[0], rows.shape[1], table.shape[2]
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
            _place(tile[c], y, bins, cell, share, n)
            _look_up(table[c], cell, y, tile[c], slope[c], n)
            add_product(summed, tile[c], slope[c], n)
        for c in range(classes):
            if activation == SOFTMAX:
                through_softmax(slope[c], tile[c], summed, n)
            elif activation == SIGMOID:
                through_sigmoid(slope[c], tile[c], n)
            store_to(out, b, c, s, slope[c], w, n)


@part
def probabilities(
    x: Any, b: int, mask: Array, activation: int, s: int, both: Array, rows: Array, n: int
) -> None:
    """Into the first tile."""
    tile, w, highest = both[0], rows[3], rows[7]
    if activation == SOFTMAX:
        tiles.load_tile(x, b, s, n, tile, highest)
        tiles.clear_tile(mask, w, tile, highest, n)
        tiles.exponentials(both[:1], highest, rows[:3], 0, n)
        for c in range(len(tile) - 1):
            multiply(tile[c], rows[1], n)
        return
    for c in range(len(tile) - 1):
        load_from(x, b, c, s, tile[c], n)
        if len(mask):
            clear_row(tile[c], w, n)
        if activation == SIGMOID:
            sigmoid(tile[c], rows[8], rows[9], rows[10], n)
            load(rows[8], tile[c], n)


@part
def _place(p: Array, y: Array, bins: int, cell: Array, share: Array, n: int) -> None:
    """Cell of each error, and the share of its upper edge; a NaN has a cell, and a share of NaN."""
    scale, last = p.dtype.type(bins), np.int32(bins // 2 - 1)
    for i in range(n):
        error = abs(p[i] - y[i])
        low = error <= HALF
        v = np.sqrt(max((error if low else ONE - error) * HALF, ZERO)) * scale
        whole = np.int32(v) if v < last else last  # not so for a NaN, which is no whole number
        j = p.dtype.type(whole)
        upper = min((v * v - j * j) / (j + j + ONE), ONE)
        share[i] = upper if low else ONE - upper if error > HALF else error
        cell[i] = whole if low else np.int32(bins - 1) - whole


@part
def _add_label(out: Array, cell: Array, share: Array, y: Array, w: Array, n: int) -> None:
    """Where each voxel is either foreground or background."""
    for i in range(n):
        side, k = 0 if y[i] > ZERO else 1, cell[i]
        upper = w[i] * share[i]
        out[side, k] += w[i] - upper
        out[side, k + 1] += upper


@part
def _add_soft(
    out: Array, cell: Array, share: Array, y: Array, w: Array, inside: Array, n: int
) -> None:
    for i in range(n):
        inside[i] = w[i] * y[i]
    for i in range(n):
        k, outside = cell[i], w[i] - inside[i]
        out[0, k] += inside[i] - inside[i] * share[i]
        out[0, k + 1] += inside[i] * share[i]
        out[1, k] += outside - outside * share[i]
        out[1, k + 1] += outside * share[i]


@part
def _look_up(table: Array, cell: Array, y: Array, p: Array, slope: Array, n: int) -> None:
    """Derivative by p, for weight 1."""
    for i in range(n):
        by_error = table[0, cell[i]] * y[i] + table[1, cell[i]] * (ONE - y[i])
        rises, falls = p[i] > y[i], p[i] < y[i]
        slope[i] = by_error if rises else -by_error if falls else p[i] - y[i]  # 0, or NaN


@part
def add_product(summed: Array, a: Array, b: Array, n: int) -> None:
    """Add products."""
    for i in range(n):
        summed[i] += a[i] * b[i]


@part
def through_softmax(slope: Array, p: Array, summed: Array, n: int) -> None:
    """From the slope by a probability that by its logit, given Σ p times the slopes."""
    for i in range(n):
        slope[i] = p[i] * (slope[i] - summed[i])


@part
def through_sigmoid(slope: Array, p: Array, n: int) -> None:
    """Likewise."""
    for i in range(n):
        slope[i] *= p[i] * (ONE - p[i])
