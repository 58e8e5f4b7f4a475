"""Random logits and labels, the same for the same seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medloss.workbench.bench.copy_speed import floor_bytes

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
LABEL_DTYPES = {"int64": torch.int64, "uint8": torch.uint8}


@dataclass(frozen=True)
class Inputs:
    """What every loss of a table is called with.

    Args:
        logits: (B, C, *spatial), a leaf that takes a gradient.
        labels: (B, 1, *spatial).
    """

    logits: Tensor
    labels: Tensor

    @property
    def classes(self) -> int:
        """C."""
        return self.logits.shape[1]

    @property
    def floor_bytes(self) -> int:
        """What any loss has to move."""
        batch, classes, *spatial = self.logits.shape
        sizes = self.logits.itemsize, self.labels.itemsize
        return floor_bytes(batch, classes, math.prod(spatial), *sizes)

    def drop_gradient(self) -> None:
        """As an optimizer's ``zero_grad`` does between steps."""
        self.logits.grad = None


def random_inputs(
    shape: tuple[int, ...], dtype: str, labels_dtype: str, *, spread: float, seed: int, device: str
) -> Inputs:
    """Normal logits of standard deviation ``spread``, labels uniform over the classes."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator).mul_(spread).to(device, DTYPES[dtype])
    labels = torch.randint(shape[1], (shape[0], 1, *shape[2:]), generator=generator)
    return Inputs(logits.requires_grad_(), labels.to(device, LABEL_DTYPES[labels_dtype]))
