"""The numba backend: runs the kernels over the blocks of a request."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from medloss.runtime.memory import use_large_pages
from medloss.runtime.threads import run
from medloss.sums.cpu import exclusive, independent
from medloss.sums.cpu.plan import Plan
from medloss.sums.cpu.views import stored
from medloss.sums.request import Request, gradient_like

Kernel = Callable[..., None]


def sums(request: Request) -> Tensor:
    """Sums of shape (B, K, C) in ``request.work_dtype``."""
    plan = Plan(request.flat(), gradient=False)
    blocks = plan.blocks()
    parts = np.zeros((len(blocks), len(request.terms), plan.classes + 1))
    kernel: Kernel = exclusive.sums if plan.softmax else independent.sums

    def work(block: int) -> None:
        own = plan.scratch()
        kernel(
            *plan.read, *plan.arguments, *blocks[block], *own.tiles, *own.rows_and_labels,
            own.bins, parts[block],
        )  # fmt: skip

    run(len(blocks), work, request.input.numel())
    # in the order of the blocks, so that the number of threads changes nothing
    whole = parts.reshape(plan.batch, -1, *parts.shape[1:]).sum(1)[:, :, : plan.classes]
    if plan.v_at >= 0:  # the same for every class, summed once
        whole[:, plan.v_at] = whole[:, plan.v_at, :1]
    return torch.from_numpy(whole).to(request.work_dtype)


def slopes(request: Request, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, K, C) of the sums."""
    plan = Plan(request.flat(), gradient=True)
    out = use_large_pages(gradient_like(request.input))
    flat = stored(out.flatten(2), plan.dtype)
    blocks = plan.blocks()
    # a gradient of 0 for labels that are no class
    g = np.zeros((plan.batch, len(request.terms), plan.classes + 1), plan.dtype)
    g[:, :, : plan.classes] = gradient.detach().numpy()
    kernel: Kernel = exclusive.slopes if plan.softmax else independent.slopes

    def work(block: int) -> None:
        own = plan.scratch()
        kernel(
            *plan.read, *plan.arguments, *blocks[block], *own.tiles, *own.rows_and_labels,
            g[blocks[block][0]], flat,
        )  # fmt: skip

    run(len(blocks), work, request.input.numel())
    return out
