"""The triton backend: launches the kernels for a request."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.sums.gpu.kernels import class_sums_kernel, class_sums_slopes_kernel
from medloss.sums.gpu.plan import Plan, on_device_of, seen
from medloss.sums.gpu.tiles import Tile
from medloss.sums.gpu.true_class import log_p_true_kernel, log_p_true_slopes_kernel
from medloss.sums.gpu.tuning import chosen_tile
from medloss.sums.request import Request, gradient_like

FUSED: dict[str, Any] = {"enable_fp_fusion": True}
"""A product and a sum in one rounding, which newer versions of triton do not take for granted."""


def sums(request: Request) -> Tensor:
    """Sums of shape (B, K, C) in ``request.work_dtype``."""
    plan = Plan(request, gradient=False)

    def launch(tile: Tile) -> Tensor:
        programs = plan.programs(tile)
        shape = (plan.batch, programs, len(request.terms), plan.classes)
        partial = request.input.new_empty(shape, dtype=request.work_dtype)
        class_sums_kernel[(plan.batch * programs,)](
            *plan.read, partial, plan.voxels, programs,
            **plan.choices, ROWS=tile.rows, VOXELS=tile.voxels, FOLD=plan.load.fold(tile),
            num_warps=tile.warps, **FUSED,
        )  # fmt: skip
        # a fixed order, where atomic additions would have none
        return partial.sum(1, dtype=torch.float64).to(request.work_dtype)

    with on_device_of(request.input):
        return launch(chosen_tile(plan.load, plan.key, launch))


def slopes(request: Request, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, K, C) of the sums."""
    plan = Plan(request, gradient=True)
    out = gradient_like(request.input)
    if not plan.terms:
        return out.zero_()
    written = seen(out.flatten(2))
    of_sums = gradient.detach().to(request.work_dtype).contiguous()

    def launch(tile: Tile) -> None:
        programs = plan.programs(tile)
        class_sums_slopes_kernel[(plan.batch * programs,)](
            *plan.read, of_sums, written, None, plan.voxels, programs,
            **plan.choices, LOG_P=plan.has_log_p, SUMS=len(request.terms),
            ROWS=tile.rows, VOXELS=tile.voxels, num_warps=tile.warps, **FUSED,
        )  # fmt: skip

    with on_device_of(request.input):
        launch(chosen_tile(plan.load, plan.key, launch))
    return out


def log_p_true(request: Request) -> Tensor:
    """Log p of the true class, (B, 1, *spatial) in ``request.work_dtype``."""
    shape = (request.input.shape[0], 1, *request.input.shape[2:])
    out = request.input.new_empty(shape, dtype=request.work_dtype)
    _of_true_class(log_p_true_kernel, request, seen(out.flatten(2)))
    return out


def log_p_true_slopes(request: Request, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, 1, *spatial) of :func:`log_p_true`."""
    out = gradient_like(request.input)
    by_value = gradient.detach().to(request.work_dtype).flatten(2)
    _of_true_class(log_p_true_slopes_kernel, request, seen(by_value), seen(out.flatten(2)))
    return out


def _of_true_class(kernel: Any, request: Request, *written: Any) -> None:
    plan = Plan(request, gradient=True)
    tile = plan.load.tile_by_rule()
    programs = -(-plan.voxels // tile.voxels)
    x, _, target, mask, _ = plan.read
    with on_device_of(request.input):
        kernel[(plan.batch * programs,)](
            x, target, mask, *written, programs, plan.voxels,
            CLASSES=plan.classes, ROWS=tile.rows, VOXELS=tile.voxels, num_warps=tile.warps, **FUSED,
        )  # fmt: skip
