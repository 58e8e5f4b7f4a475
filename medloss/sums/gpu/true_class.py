"""Log p of the true class by kernels: one number a voxel, and its gradient by the logits."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from medloss.sums.gpu.activations import LN_2, exponent, softmax
from medloss.sums.gpu.backend import FUSED, LaunchPlan, on_device_of, seen
from medloss.sums.gpu.head import load_voxels
from medloss.sums.gpu.voxels import is_class, load_labelled, load_weights, store_tile
from medloss.sums.request import SumsRequest, gradient_like


def log_p_true(request: SumsRequest) -> Tensor:
    """Log p of the true class, (B, 1, *spatial) in ``request.work_dtype``."""
    shape = (request.input.shape[0], 1, *request.input.shape[2:])
    out = request.input.new_empty(shape, dtype=request.work_dtype)
    _launch(log_p_true_kernel, request, seen(out.flatten(2)))
    return out


def log_p_true_slopes(request: SumsRequest, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, 1, *spatial) of :func:`log_p_true`."""
    out = gradient_like(request.input)
    by_value = gradient.detach().to(request.work_dtype).flatten(2)
    _launch(log_p_true_slopes_kernel, request, seen(by_value), seen(out.flatten(2)))
    return out


def _launch(kernel: Any, request: SumsRequest, *written: Any) -> None:
    plan = LaunchPlan(request, gradient=True)
    tile = plan.load.tile_by_rule()
    programs = -(-plan.voxels // tile.voxels)
    x, _, target, mask, _ = plan.read
    with on_device_of(request.input):
        kernel[(plan.batch * programs,)](
            x, target, mask, *written, programs, plan.voxels,
            CLASSES=plan.classes, **tile.choices, **FUSED,
        )  # fmt: skip


@triton.jit(do_not_specialize=["programs"])
def log_p_true_kernel(
    x, target, mask, out, programs, voxels,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Write log p of the class that each label names, (B, 1, V)."""
    DTYPE: tl.constexpr = out[0].dtype.element_ty
    b = (tl.program_id(0) // programs).to(tl.int64)
    start = (tl.program_id(0) % programs).to(tl.int64) * VOXELS
    left, w, labels, z, _ = load_voxels(
        x, None, target, mask, b, start, voxels, DTYPE, True, True, 1, 0, CLASSES, ROWS, VOXELS
    )
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
    left, w, labels, z, _ = load_voxels(
        x, None, target, mask, b, start, voxels, DTYPE, True, True, 1, 0, CLASSES, ROWS, VOXELS
    )
    _, powers, total, _ = softmax(z)
    g = load_weights(gradient, b, start, left, DTYPE, ROWS, VOXELS)
    g = tl.where((labels >= 0) & (w != 0), g, 0.0)
    share = g / total
    for i in tl.static_range(LOTS):
        slope = tl.where(is_class(labels, i, ROWS), g, 0.0) - powers[i] * share
        store_tile(out, slope, b, start, left, i, CLASSES, ROWS, VOXELS)
