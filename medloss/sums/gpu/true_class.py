"""Kernels of log p of the true class: one number a voxel, and its gradient by the logits."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from medloss.sums.gpu.activations import LN_2, exponent, softmax
from medloss.sums.gpu.voxels import (
    is_class,
    load_classes,
    load_labelled,
    load_labels,
    load_weights,
    store_tile,
)


@triton.jit(do_not_specialize=["programs"])
def log_p_true_kernel(
    x, target, mask, out, programs, voxels,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Write log p of the class that each label names, (B, 1, V)."""
    DTYPE: tl.constexpr = out[0].dtype.element_ty
    b = (tl.program_id(0) // programs).to(tl.int64)
    start = (tl.program_id(0) % programs).to(tl.int64) * VOXELS
    left = tl.minimum(voxels - start, VOXELS).to(tl.int32)
    w = load_weights(mask, b, start, left, DTYPE, ROWS, VOXELS)
    labels = load_labels(target, b, start, left, True, CLASSES, ROWS, VOXELS)
    z = load_classes(x, mask, w, b, start, left, True, CLASSES, ROWS, VOXELS)
    _, _, total, shift = softmax(z)
    scaled = exponent(load_labelled(x, w, labels, b, start, VOXELS), shift)
    value = tl.where((labels >= 0) & (w != 0), (scaled - tl.log2(total)) * LN_2, 0.0)
    store_tile(out, value, b, start, left, 0, 1, ROWS, VOXELS)


@triton.jit(do_not_specialize=["programs"])
def log_p_true_slopes_kernel(
    x, target, mask, gradient, out, programs, voxels,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Write the gradient by the logits, for a gradient (B, 1, V): g (y − p)."""
    LOTS: tl.constexpr = (CLASSES + ROWS - 1) // ROWS
    DTYPE: tl.constexpr = gradient[0].dtype.element_ty
    b = (tl.program_id(0) // programs).to(tl.int64)
    start = (tl.program_id(0) % programs).to(tl.int64) * VOXELS
    left = tl.minimum(voxels - start, VOXELS).to(tl.int32)
    w = load_weights(mask, b, start, left, DTYPE, ROWS, VOXELS)
    labels = load_labels(target, b, start, left, True, CLASSES, ROWS, VOXELS)
    z = load_classes(x, mask, w, b, start, left, True, CLASSES, ROWS, VOXELS)
    _, powers, total, _ = softmax(z)
    g = load_weights(gradient, b, start, left, DTYPE, ROWS, VOXELS)
    g = tl.where((labels >= 0) & (w != 0), g, 0.0)
    share = g / total
    for i in tl.static_range(LOTS):
        slope = tl.where(is_class(labels, i, ROWS), g, 0.0) - powers[i] * share
        store_tile(out, slope, b, start, left, i, CLASSES, ROWS, VOXELS)
