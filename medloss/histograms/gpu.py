"""Error histograms on CUDA devices: one read of the logits, and for the gradient one more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.histograms.gpu_kernels import count_kernel, slopes_kernel
from medloss.sums.gpu.backend import FUSED
from medloss.sums.gpu.plan import on_device_of, processors, seen
from medloss.sums.gpu.tiles import Load
from medloss.sums.terms import work_dtype

STEPS = {torch.float32: 2.0**24, torch.float64: 2.0**34}
"""The largest weight in units: what a float32 tells apart, and room for 2²⁹ voxels."""
COPIES_BYTES = 1 << 25
"""Room for copies of the histograms."""
LIVE_TILES = 4
"""Values of all classes of a voxel that the gradient holds at once."""


def histograms(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, bins: int
) -> Tensor:
    """(B, C, 2, bins + 1), from tensors with one axis of voxels."""
    work = _Work(input, target, mask, activation)
    programs = max(1, min(work.tiles, 8 * processors(input.device) // work.batch))
    shape = (2, bins + 2)
    copies = COPIES_BYTES // (8 * work.batch * work.classes * 2 * (bins + 2))
    copies = max(1, min(programs, copies))
    largest = torch.ones((), dtype=work.dtype, device=input.device)
    if mask is not None:  # on the device: nothing waits for it
        largest = mask.amax().to(work.dtype)
        largest = torch.where(largest > 0, largest, 1)
    unit = STEPS[work.dtype] / largest
    counts = torch.zeros(
        (work.batch, copies, work.classes, *shape), dtype=torch.int64, device=input.device
    )
    with on_device_of(input):
        count_kernel[(work.batch * programs,)](
            *work.read, unit, counts, work.voxels, programs, copies, bins, **work.choices
        )
        whole = counts.sum(1)
        found = whole[..., :-1].double() / unit.double()
        return found.masked_fill(whole[..., -1:] > 0, torch.nan)


def slopes(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, table: Tensor, out: Tensor
) -> None:
    """Write to ``out`` the gradient by the input, from derivatives by the errors of each cell."""
    work = _Work(input, target, mask, activation)
    by_cell = table.detach().to(work.dtype).contiguous()
    with on_device_of(input):
        slopes_kernel[(work.batch * work.tiles,)](
            *work.read, by_cell, seen(out.flatten(2)), work.voxels, work.tiles, table.shape[-1],
            **work.choices,
        )  # fmt: skip


class _Work:
    """What both kernels take."""

    def __init__(self, input: Tensor, target: Tensor, mask: Tensor | None, activation: str) -> None:
        self.batch, self.classes, self.voxels = input.shape
        self.dtype = work_dtype(input)
        tile = Load(self.classes, input.itemsize, 0, LIVE_TILES).tile_by_rule()
        self.tiles = -(-self.voxels // tile.voxels)
        self.read = seen(input), seen(target), None if mask is None else seen(mask)
        self.choices: dict[str, Any] = {
            "ACTIVATION": activation,
            "INDEX": target.shape[1] != self.classes,
            "CLASSES": self.classes,
            "ROWS": tile.rows,
            "VOXELS": tile.voxels,
            "num_warps": tile.warps,
            **FUSED,
        }
