"""Cross entropy over the hardest voxels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.targets import Prepared


@options
class HardestVoxelsLoss(SegmentationLoss):
    """Cross entropy over the hardest fraction of voxels.

    Formula:
        L = mean of the n largest −log p_y over the N voxels of a sample that count,
        n = max(1, ⌈k N⌉); then the mean over the samples.

    Range: [0, ∞).

    Empty target:
        finite value and gradient on the hardest voxels.

    Args:
        k: fraction of the voxels, in (0, 1].

    Example:
        >>> z = torch.tensor([[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]])
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> loss = HardestVoxelsLoss(softmax=True, k=0.5)
        >>> round(loss(z.double()[None, :, None], y).item(), 7)
        0.8922001

    Source:
        Wu 2016, arXiv:1605.06885.
    """

    k: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.k <= 1:
            raise ValueError(f"k: expected a fraction in (0, 1], got {self.k!r}")

    def compute(self, prepared: Prepared) -> Tensor:
        """The loss on inputs that the base class has checked, masked and brought to float32."""
        each = prepared.each_voxel(("ce",)).ce.sum(1)
        kept = torch.ones_like(each) if prepared.mask is None else prepared.mask[:, 0]
        samples = [self.hardest(e[k > 0]) for e, k in zip(each, kept, strict=True)]
        loss = torch.stack(samples)[:, None]  # (B, 1)
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def hardest(self, voxels: Tensor) -> Tensor:
        """Mean of the hardest of the voxels that count in one sample."""
        count = max(1, math.ceil(self.k * voxels.numel()))
        return voxels.topk(count).values.mean() if voxels.numel() else voxels.sum()
