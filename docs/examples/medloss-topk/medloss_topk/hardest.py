"""Cross entropy over the hardest voxels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, annotated_share, mean_of, options
from medloss.base.targets import Prepared


@options
class HardestVoxelsLoss(SegmentationLoss):
    """Cross entropy over the hardest fraction of voxels.

    Formula:
        L = mean of the n largest −log p_y over the N voxels of a sample that count,
        n = max(1, ⌈k N⌉); then the mean over the samples. With ``batch=True`` one sample of all.

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
        if self.batch == "world":
            raise ValueError("batch: expected False or True, the hardest of all ranks are unknown")

    def compute(self, prepared: Prepared) -> Tensor:
        """The loss on inputs that the base class has checked, masked and brought to float32.

        Every option of the base class has its meaning here, or is refused in ``__post_init__``.
        """
        each = prepared.each_voxel(("ce",)).ce  # (B, C, *spatial), 0 where masked
        share = torch.ones_like(each[:, :1])  # of the voxels that belong to the mean
        if prepared.is_exclusive:
            of_label = annotated_share(prepared, include_background=self.include_background)
            share = share if of_label is None else of_label
        if prepared.mask is not None:
            share = share * prepared.mask
        if prepared.present is not None:
            each = each * prepared.present.view(*each.shape[:2], *[1] * (each.ndim - 2))
        each = each if self.include_background else each[:, 1:]
        weight = self.class_weights(each.shape[1], each)
        if weight is not None:
            each = each * weight.view(1, -1, *[1] * (each.ndim - 2))
        voxels, counts = each.sum(1).flatten(1), (share > 0).flatten(1)
        if self.batch:
            voxels, counts = voxels.view(1, -1), counts.view(1, -1)
        samples = [self.hardest(e[k]) for e, k in zip(voxels, counts, strict=True)]
        loss = torch.stack([voxels.sum() * 0, *samples])[1:, None]  # (B, 1), of no sample too
        if self.reduction == "none":
            return loss
        return mean_of(loss) if self.reduction == "mean" else loss.sum()

    def hardest(self, voxels: Tensor) -> Tensor:
        """Mean of the hardest of the voxels that count in one sample."""
        count = max(1, math.ceil(self.k * voxels.numel()))
        return voxels.topk(count).values.mean() if voxels.numel() else voxels.sum()
