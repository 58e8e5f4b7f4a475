"""Sums over bins of probability on CUDA devices: one read of the logits, and one for the gradient.

Kernels, units and copies are those of the error histograms: :mod:`medloss.histograms.gpu`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from medloss.histograms.gpu import SIZES, Work, add, counted
from medloss.sums.gpu.activations import activate, over_classes, row_of
from medloss.sums.gpu.backend import on_device_of, seen
from medloss.sums.gpu.head import load_voxels
from medloss.sums.gpu.voxels import load_target, store_tile


def sums(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, bins: int, soft: bool
) -> Tensor:
    """(B, C, 3, bins), or for soft bins two more places, from tensors with one axis of voxels."""
    work = Work(input, target, mask, activation)
    work.choices["SOFT"] = soft
    # A voxel counts for the place of its cell and, of soft bins, for the next one.
    cells = bins + 1 if soft else bins
    found = counted(confidence_kernel, work, mask, 3, cells)
    return found if soft else found[..., :-1]


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
    work.choices["SOFT"] = soft
    by_cell = table.detach().to(work.dtype).contiguous()
    with on_device_of(input):
        confidence_slopes_kernel[(work.batch * work.tiles,)](
            *work.read, by_cell, seen(out.flatten(2)), work.voxels, work.tiles, table.shape[-1],
            **work.choices,
        )  # fmt: skip


@triton.jit
def place(p, cells, SOFT: tl.constexpr):
    """Cell of each probability, and the share of the next place; of a NaN the share is NaN."""
    v = p * (cells - 1).to(p.dtype) + 0.5 if SOFT else tl.ceil(p * cells.to(p.dtype)) - 1.0
    inside = tl.minimum(tl.maximum(v, 0.0), (cells - 1).to(p.dtype))
    cell = tl.where(v == v, inside, 0.0).to(tl.int32)
    share = tl.minimum(tl.maximum(v - cell.to(p.dtype), 0.0), 1.0) if SOFT else p * 0.0
    return cell, tl.where(p == p, share, p)


@triton.jit(do_not_specialize=SIZES)
def confidence_kernel(
    x, target, mask, unit, counts, voxels, programs, copies, bins,
    ACTIVATION: tl.constexpr, INDEX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr, SOFT: tl.constexpr,
):  # fmt: skip
    """Add to ``counts`` (B, copies, classes, 3, bins + 2), in units of a weight of ``1 / unit``.

    ``bins`` are cells; a place beyond the others counts the voxels that have a NaN.
    """
    LOTS: tl.constexpr = (CLASSES + ROWS - 1) // ROWS
    DTYPE: tl.constexpr = unit.dtype.element_ty
    SOFTMAX: tl.constexpr = ACTIVATION == "softmax"
    b = (tl.program_id(0) // programs).to(tl.int64)
    program = (tl.program_id(0) % programs).to(tl.int64)
    out = counts + (b * copies + program % copies) * (CLASSES * 3 * (bins + 2))
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
            cell, share = place(p, bins, SOFT)
            classes = (tl.arange(0, ROWS) + i * ROWS)[:, None]
            real = (classes < CLASSES) & (w != 0)
            row = out + classes * 3 * (bins + 2)
            none = tl.zeros(cell.shape, tl.int32)
            units = w * scale + tl.zeros(p.shape, DTYPE)
            add(row, none, cell, share, units, real, bins, 1)
            add(row + bins + 2, none, cell, share, units * p, real, bins, 1)
            add(row + 2 * (bins + 2), none, cell, share, units * y, real, bins, 1)


@triton.jit(do_not_specialize=["programs", "cells"])
def confidence_slopes_kernel(
    x, target, mask, table, out, voxels, programs, cells,
    ACTIVATION: tl.constexpr, INDEX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr, SOFT: tl.constexpr,
):  # fmt: skip
    """Write the gradient by the input, for derivatives by p of ``table`` (B, classes, 3, cells)."""
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
        cell, _ = place(p, cells, SOFT)
        classes = (tl.arange(0, ROWS) + i * ROWS)[:, None]
        at, real = table + (b * CLASSES + classes) * 3 * cells + cell, classes < CLASSES
        by_p = tl.load(at, mask=real, other=0.0)
        by_p += tl.load(at + cells, mask=real, other=0.0) * p
        by_p += tl.load(at + 2 * cells, mask=real, other=0.0) * y
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
