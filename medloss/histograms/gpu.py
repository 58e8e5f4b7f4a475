"""Error histograms on CUDA devices: one read of the logits, and for the gradient one more.

The kernels work on the tiles of those of the class sums. Counts are whole numbers of a small unit
of weight, added atomically: whole numbers have the same sum in any order. Programs add to a few
copies of the histograms, so that not all of them wait for the cell in which most voxels are.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from medloss.sums.gpu.activations import activate, over_classes, row_of
from medloss.sums.gpu.backend import FUSED, on_device_of, seen
from medloss.sums.gpu.head import load_voxels
from medloss.sums.gpu.residence import processors, resident, spread
from medloss.sums.gpu.tiles import Load
from medloss.sums.gpu.voxels import load_target, store_tile
from medloss.sums.voxels import work_dtype

STEPS = {torch.float32: 2.0**24, torch.float64: 2.0**34}
"""The largest weight in units: what a float32 tells apart, and room for 2²⁹ voxels."""
COPIES_BYTES = 1 << 25
"""Room for copies of the histograms."""
LIVE_TILES = 4
"""Values of all classes of a voxel that the gradient holds at once."""
SIZES = ["programs", "copies", "bins"]
MOST = tl.constexpr(2.0**62)
"""Of what a whole number of 64 bits holds."""


def histograms(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, bins: int
) -> Tensor:
    """(B, C, 2, bins + 1), from tensors with one axis of voxels."""
    return counted(count_kernel, Work(input, target, mask, activation), mask, 2, bins)


def counted(kernel: Any, work: Work, mask: Tensor | None, rows: int, bins: int) -> Tensor:
    """What a kernel counts, (B, C, rows, bins + 1); NaN where the last place has counted any.

    Args:
        kernel: takes what :func:`count_kernel` does.
        work: on which.
        mask: weights of the voxels.
        rows: of each class.
        bins: cells; each voxel counts for the two places around its own.
    """
    shape, input = (rows, bins + 2), work.input
    largest = torch.ones((), dtype=work.dtype, device=input.device)
    if mask is not None:  # on the device: nothing waits for it
        largest = mask.amax().to(work.dtype)
        largest = torch.where(largest > 0, largest, 1)
    unit = STEPS[work.dtype] / largest
    with on_device_of(input):
        one = torch.zeros(0, dtype=torch.int64, device=input.device)
        given = *work.read, unit, one, work.voxels, 1, 1, bins
        each = resident(kernel, given, work.choices, input.device)
        programs = spread(work.tiles, each * processors(input.device) // work.batch)
        copies = COPIES_BYTES // (8 * work.batch * work.classes * rows * (bins + 2))
        copies = max(1, min(programs, copies))
        counts = one.new_zeros((work.batch, copies, work.classes, *shape))
        kernel[(work.batch * programs,)](
            *work.read, unit, counts, work.voxels, programs, copies, bins, **work.choices
        )
        whole = counts.sum(1)
        found = whole[..., :-1].double() / unit.double()
        return found.masked_fill(whole[..., -1:] > 0, torch.nan)


def slopes(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, table: Tensor, out: Tensor
) -> None:
    """Write to ``out`` the gradient by the input, from derivatives by the errors of each cell."""
    work = Work(input, target, mask, activation)
    by_cell = table.detach().to(work.dtype).contiguous()
    with on_device_of(input):
        slopes_kernel[(work.batch * work.tiles,)](
            *work.read, by_cell, seen(out.flatten(2)), work.voxels, work.tiles, table.shape[-1],
            **work.choices,
        )  # fmt: skip


class Work:
    """What both kernels take."""

    def __init__(self, input: Tensor, target: Tensor, mask: Tensor | None, activation: str) -> None:
        self.input = input
        self.batch, self.classes, self.voxels = input.shape
        self.dtype = work_dtype(input)
        tile = Load(self.classes, input.itemsize, 0, LIVE_TILES).tile_by_rule()
        self.tiles = -(-self.voxels // tile.voxels)
        self.read = seen(input), seen(target), None if mask is None else seen(mask)
        self.choices: dict[str, Any] = {
            "ACTIVATION": activation,
            "INDEX": target.shape[1] != self.classes,
            "CLASSES": self.classes,
            **tile.choices,
            **FUSED,
        }


@triton.jit
def place(error, bins):
    """Cell of each error, and the share of its upper edge: :mod:`medloss.histograms.plain`.

    A NaN has a cell as well; its share is NaN, which minimum and maximum would not leave it.
    """
    low = error <= 0.5
    from_end = tl.maximum(tl.where(low, error, 1.0 - error), 0.0)
    v = tl.sqrt(0.5 * from_end) * bins.to(error.dtype)
    last = bins // 2 - 1
    whole = tl.where(v < last, v, last.to(error.dtype)).to(tl.int32)
    j = whole.to(error.dtype)
    share = tl.minimum((v * v - j * j) / (2.0 * j + 1.0), 1.0)
    share = tl.where(low, share, 1.0 - share)
    return tl.where(low, whole, bins - 1 - whole), tl.where(error == error, share, error)


@triton.jit
def add(row, side, cell, share, units, real, bins, SIDES: tl.constexpr):
    """Add weights to the two edges of their cells; together they are the rounded weight.

    The place after the last edge counts what is no number of units. Most voxels of a trained
    network lie in the first cell, for which their tile makes one addition.

    Args:
        row: where the first of the sides of each class is, (rows, 1).
        side: of each voxel, or 0.
        cell: of :func:`place`.
        share: likewise.
        units: weights.
        real: which elements count.
        bins: number of cells.
        SIDES: how many there are to choose from.
    """
    whole = units * share
    known = (tl.abs(units) < MOST) & (tl.abs(whole) < MOST)
    upper = tl.floor(tl.where(known, whole, 0.0) + 0.5).to(tl.int64)
    lower = tl.floor(tl.where(known, units, 0.0) + 0.5).to(tl.int64) - upper
    first = (real & known) & (cell == 0)
    for n in tl.static_range(SIDES):
        here = first & (side == n)
        _add_sum(row + n * (bins + 2), lower, here)
        _add_sum(row + n * (bins + 2) + 1, upper, here)
    at = row + side * (bins + 2)
    others = (real & known) & (cell != 0)
    tl.atomic_add(at + cell, lower, mask=others, sem="relaxed")
    tl.atomic_add(at + cell + 1, upper, mask=others, sem="relaxed")
    one = tl.full(cell.shape, 1, tl.int64)
    tl.atomic_add(at + bins + 1, one, mask=real & (known == 0), sem="relaxed")


@triton.jit
def _add_sum(at, units, real):
    """Add up a row of a tile, and add that, unless it is nothing."""
    total = tl.sum(tl.where(real, units, 0), 1)[:, None]
    tl.atomic_add(at, total, mask=total != 0, sem="relaxed")


@triton.jit(do_not_specialize=SIZES)
def count_kernel(
    x, target, mask, unit, counts, voxels, programs, copies, bins,
    ACTIVATION: tl.constexpr, INDEX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Add to ``counts`` (B, copies, classes, 2, bins + 2), in units of a weight of ``1 / unit``.

    A place beyond the edges counts the voxels that have a NaN.
    """
    LOTS: tl.constexpr = (CLASSES + ROWS - 1) // ROWS
    DTYPE: tl.constexpr = unit.dtype.element_ty
    SOFTMAX: tl.constexpr = ACTIVATION == "softmax"
    b = (tl.program_id(0) // programs).to(tl.int64)
    program = (tl.program_id(0) % programs).to(tl.int64)
    out = counts + (b * copies + program % copies) * (CLASSES * 2 * (bins + 2))
    scale = tl.load(unit)
    for start in range(program * VOXELS, voxels, programs.to(tl.int64) * VOXELS):
        left, w, labels, z, _ = load_voxels(
            x, None, target, mask, b, start, voxels, DTYPE, INDEX, SOFTMAX,
            1, 0, CLASSES, ROWS, VOXELS,
        )  # fmt: skip
        tiles, found = activate(z, ACTIVATION, False)
        for i in tl.static_range(LOTS):
            p, _, _, _ = row_of(i, tiles, found, ACTIVATION, False)
            y = load_target(target, labels, b, start, left, i, DTYPE, INDEX, CLASSES, ROWS, VOXELS)
            cell, share = place(tl.abs(p - y), bins)
            classes = (tl.arange(0, ROWS) + i * ROWS)[:, None]
            real = (classes < CLASSES) & (w != 0)
            row = out + classes * 2 * (bins + 2)
            if INDEX:
                add(row, tl.where(y > 0, 0, 1), cell, share, w * scale, real, bins, 2)
            else:
                none = tl.zeros(cell.shape, tl.int32)
                add(row, none, cell, share, w * scale * y, real, bins, 1)
                row += bins + 2
                add(row, none, cell, share, w * scale * (1.0 - y), real, bins, 1)


@triton.jit(do_not_specialize=["programs", "bins"])
def slopes_kernel(
    x, target, mask, table, out, voxels, programs, bins,
    ACTIVATION: tl.constexpr, INDEX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Write the gradient by the input, for slopes ``table`` (B, classes, 2, bins) by the errors."""
    LOTS: tl.constexpr = (CLASSES + ROWS - 1) // ROWS
    DTYPE: tl.constexpr = table.dtype.element_ty
    SOFTMAX: tl.constexpr = ACTIVATION == "softmax"
    b = (tl.program_id(0) // programs).to(tl.int64)
    start = (tl.program_id(0) % programs).to(tl.int64) * VOXELS
    left, w, labels, z, _ = load_voxels(
        x, None, target, mask, b, start, voxels, DTYPE, INDEX, SOFTMAX,
        1, 0, CLASSES, ROWS, VOXELS,
    )  # fmt: skip
    tiles, found = activate(z, ACTIVATION, False)
    ps = ()
    by_ps = ()
    parts = ()
    for i in tl.static_range(LOTS):
        p, q, _, _ = row_of(i, tiles, found, ACTIVATION, False)
        y = load_target(target, labels, b, start, left, i, DTYPE, INDEX, CLASSES, ROWS, VOXELS)
        cell, _ = place(tl.abs(p - y), bins)
        classes = (tl.arange(0, ROWS) + i * ROWS)[:, None]
        at = table + ((b * CLASSES + classes) * 2) * bins + cell
        if INDEX:
            by_error = tl.load(at + tl.where(y > 0, 0, bins), mask=classes < CLASSES, other=0.0)
        else:
            inside = tl.load(at, mask=classes < CLASSES, other=0.0)
            outside = tl.load(at + bins, mask=classes < CLASSES, other=0.0)
            by_error = inside * y + outside * (1.0 - y)
        by_p = tl.where(p > y, by_error, tl.where(p < y, -by_error, p - y))  # 0, or NaN
        if mask is not None:
            by_p = tl.where(w == 0, 0.0, by_p)
        if SOFTMAX:
            ps += (p,)
            by_ps += (by_p,)
            parts += (p * by_p,)
        else:
            if ACTIVATION == "sigmoid":
                by_p *= p * q
            store_tile(out, by_p * w, b, start, left, i, CLASSES, ROWS, VOXELS)
    if SOFTMAX:
        whole = over_classes(parts)[None, :]
        for i in tl.static_range(LOTS):
            slope = ps[i] * (by_ps[i] - whole) * w
            store_tile(out, slope, b, start, left, i, CLASSES, ROWS, VOXELS)
