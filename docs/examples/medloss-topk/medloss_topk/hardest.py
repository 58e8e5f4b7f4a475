"""Cross entropy over the hardest voxels."""

from __future__ import annotations

import math

from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.sums import voxel_terms
from medloss.targets import Prepared


@options
class HardestVoxelsLoss(SegmentationLoss):
    """Cross entropy over the hardest fraction of voxels.

    Formula:
        L = mean of the n largest −log p_y over the voxels that count, n = max(1, ⌈k N⌉).

    Range: [0, ∞).

    Empty target:
        finite value and gradient on the hardest voxels.

    Args:
        k: fraction of the voxels, in (0, 1].

    Example:
        >>> import torch
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
        voxels = voxel_terms(
            prepared.input,
            prepared.target,
            ("ce",),
            activation=prepared.activation,
            mask=prepared.mask,
        )
        each = voxels.ce.sum(1)
        if prepared.mask is not None:
            each = each[prepared.mask[:, 0] > 0]
        count = max(1, math.ceil(self.k * each.numel()))
        return each.flatten().topk(count).values.mean() if each.numel() else each.sum()
