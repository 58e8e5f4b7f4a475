"""Balanced cross entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import VoxelLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio
from medloss_distribution.cross_entropy import along_classes


@options
class BalancedCrossEntropyLoss(VoxelLoss):
    """Cross entropy with each class weighted by the share of voxels outside it.

    Formula:
        sigmoid: L = mean of −β g log p − (1 − β) (1 − g) log(1 − p), β = 1 − mean(g);
        softmax: L = mean over voxels of −β_y log p_y, y the true class, β_c = 1 − mean(g_c);
        β is kept within [least, 1 − least]. Two softmax channels equal one sigmoid channel.

    The shares are those of each image; with ``batch=True`` those of the batch.

    Range: [0, ∞).

    Empty target:
        unclamped, β would be 1 (0 for a full one) and value and gradient 0 whatever is predicted;
        ``least`` times the cross entropy remains.

    Args:
        beta: a fixed β instead: weight of positives; softmax: of all classes but class 0, which
            has 1 − β.
        least: smallest β and 1 − β taken from the target, in (0, 0.5].
        weight: one number, or one for each class that counts, on top of β.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(BalancedCrossEntropyLoss()(p, g).item(), 12)
        0.199483612032

    Source:
        Xie and Tu 2015, arXiv:1504.06375; equation 3 of Jadon 2020, arXiv:2006.14822.
    """

    beta: float | None = None
    least: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta is not None and not 0 <= self.beta <= 1:
            raise ValueError(f"beta: expected a number in [0, 1] or None, got {self.beta!r}")
        if not 0 < self.least <= 0.5:
            raise ValueError(f"least: expected a number in (0, 0.5], got {self.least!r}")

    def terms(self) -> tuple[str, ...]:
        """Positive half, for independent classes the negative half, and the shares."""
        return ("ce", *(() if self.softmax else ("ce_neg",)), "t", "v")

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """β from the sums, then the weighted mean."""
        s, _ = self.counted(s, prepared)
        beta = self.share(s, prepared)
        if self.reduction == "none":
            voxels = prepared.each_voxel(self.terms())
            voxels, _ = self.counted(voxels, prepared, pool=False)
            beta = beta.reshape(*beta.shape, *[1] * (prepared.input.ndim - 2))
            return self.balanced(voxels, beta, prepared)
        total = self.balanced(s, beta, prepared).sum()
        exclusive = prepared.is_exclusive
        return total if self.reduction == "sum" else ratio(total, (s.t if exclusive else s.v).sum())

    def share(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """β of each sample and class that counts, (B, C)."""
        if self.beta is None:
            return (1 - ratio(s.t, s.v)).clamp(self.least, 1 - self.least)
        beta = torch.full_like(s.t, self.beta)
        if self.include_background and prepared.is_exclusive:
            beta[:, 0] = 1 - self.beta
        return beta

    def balanced(self, s: ClassSums, beta: Tensor, prepared: Prepared) -> Tensor:
        """Weighted cross entropy, (B, C, ...); softmax voxels (B, 1, ...)."""
        positive = beta * s.ce
        weight = self.class_weights(positive.shape[1], positive)
        if weight is not None:
            positive = positive * along_classes(weight, positive)
        if prepared.is_exclusive:
            return positive.sum(1, keepdim=True)
        return positive + (1 - beta) * s.ce_neg
