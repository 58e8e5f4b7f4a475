"""Error histograms on the CPU, in one pass over the logits; their gradient in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medloss.histograms import kernels
from medloss.runtime.memory import scratch, use_large_pages
from medloss.runtime.threads import run
from medloss.sums.cpu.views import index, stored, view
from medloss.sums.terms import work_dtype

Kernel = Callable[..., None]

TILE, LONGEST, SHORTEST = 1 << 17, 4096, 64
"""Elements of a tile, and its voxels at most and at least."""
BLOCKS = 16
"""Of a sample; each has histograms of its own, so their number is small and fixed."""


def histograms(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, bins: int
) -> Tensor:
    """(B, C, 2, bins + 1), from tensors with one axis of voxels."""
    batch, classes, _ = input.shape
    work = _Work(input, target, mask, activation)
    parts = np.zeros((batch * BLOCKS, classes, 2, bins + 1))

    kernel: Kernel = kernels.count

    def count(block: int) -> None:
        own = work.scratch()
        kernel(*work.of(block), *own.tiles, *own.rows_and_labels, parts[block])

    run(len(parts), count)
    # in the order of the blocks, so that the number of threads changes nothing
    return torch.from_numpy(parts.reshape(batch, BLOCKS, *parts.shape[1:]).sum(1))


def slopes(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, table: Tensor, out: Tensor
) -> None:
    """Write to ``out`` the gradient by the input, from derivatives by the errors of each cell."""
    work = _Work(input, target, mask, activation)
    by_cell = table.detach().numpy().astype(work.dtype)
    written = stored(use_large_pages(out).flatten(2), work.dtype)

    kernel: Kernel = kernels.slopes

    def look_up(block: int) -> None:
        own = work.scratch()
        kernel(*work.of(block), *own.tiles, *own.rows_and_labels, by_cell[block // BLOCKS], written)

    run(len(input) * BLOCKS, look_up)


class _Work:
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
        return scratch(self.classes, self.size, 2, kernels.ROWS, self.dtype)
