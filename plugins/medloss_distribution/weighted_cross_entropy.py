"""Weighted cross entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from medloss.base import VoxelLoss, options, weights
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss_distribution.binary_cross_entropy import for_classes
from medloss_distribution.cross_entropy import along_classes

NORMALISE = ("weights", "voxels")


@options
class WeightedCrossEntropyLoss(VoxelLoss):
    """Cross entropy with fixed weights for positives and for classes.

    Formula:
        sigmoid: −w_c β g log p − (1 − g) log(1 − p), summed over voxels and classes;
        softmax: −w_y log p_y for the true class y, where w_y has the factor β unless y is class 0;
        then divided by the sum of the weights ("weights") or by the number of voxels ("voxels").

    So β on one sigmoid channel is β on two softmax channels. Which divisor is taken matters for the
    size of the gradient: the mean of weights changes from patch to patch.

    Range: [0, ∞).

    Empty target:
        finite value and full gradient; nothing to count gives 0.

    Args:
        beta: weight of positives, one number or one for each class that counts; above 1 favours
            recall. A number leaves the background of exclusive classes at 1.
        normalise: ``"weights"`` or ``"voxels"``; by default as torch does: weights where classes
            are exclusive, voxels where they are independent.
        weight: one number, or one for each class that counts.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> for divisor in ("weights", "voxels"):
        ...     loss = WeightedCrossEntropyLoss(
        ...         softmax=True, weight=(0.2, 1, 2), normalise=divisor
        ...     )
        ...     print(round(loss(z, y).item(), 12))
        0.416966937922
        0.354421897234

    Source:
        Equation 2 of Jadon 2020, arXiv:2006.14822; class weights: Ronneberger 2015,
        arXiv:1505.04597.
    """

    beta: float | Sequence[float] = 1.0
    normalise: Literal["weights", "voxels"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalise not in (None, *NORMALISE):
            raise ValueError(
                f"normalise: expected one of {NORMALISE} or None, got {self.normalise!r}"
            )
        self.register_buffer("positive", weights(self.beta, "beta"))

    def terms(self) -> tuple[str, ...]:
        """Positive half, for independent classes the negative half, and what divides."""
        return ("ce", *(() if self.softmax else ("ce_neg",)), "t", "v")

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted cross entropy, (B, C, ...); softmax voxels (B, 1, ...)."""
        positive = s.ce * along_classes(self.weights(s.ce, prepared), s.ce)
        if prepared.is_exclusive:
            return positive.sum(1, keepdim=True)
        return positive + s.ce_neg

    def weights(self, like: Tensor, prepared: Prepared) -> Tensor:
        """Weight of the positives of each class that counts, (C,)."""
        beta = torch.as_tensor(self._buffers["positive"])
        weight = for_classes(beta, like, "beta").clone()
        if beta.ndim == 0 and self.include_background and prepared.is_exclusive:
            weight[0] = 1
        of_class = self.class_weights(like.shape[1], like)
        return weight if of_class is None else weight * of_class

    def normalizer(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weights of what was summed, or the number of voxels (and independent classes)."""
        exclusive = prepared.is_exclusive
        if self.normalise == "voxels" or (self.normalise is None and not exclusive):
            return s.t if exclusive else s.v
        positive = s.t * self.weights(s.t, prepared)
        return positive if exclusive else positive + s.v - s.t
