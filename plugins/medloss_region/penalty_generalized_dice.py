"""Penalty generalized Dice loss."""

from __future__ import annotations

from torch import Tensor

from medloss.base import options
from medloss.sums import ClassSums
from medloss_region.generalized_dice import GeneralizedDiceLoss


@options
class PenaltyGeneralizedDiceLoss(GeneralizedDiceLoss):
    """Generalized Dice loss, bent so that its slope grows with the loss.

    Formula:
        L = G / (1 + k (1 − G)) for each sample, G the generalized Dice loss; the slope grows from
        1 / (1 + k) at G = 0 to 1 + k at G = 1.

    Range: [0, 1].

    Empty target:
        as generalized Dice: where no class that counts is present G is the mean predicted
        probability, so false positives cost something.

    Args:
        k: strength of the bend; 0 is generalized Dice, the paper takes 2.5.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> loss = PenaltyGeneralizedDiceLoss(softmax=True, smooth_nr=0, smooth_dr=0)
        >>> round(loss(z, y).item(), 12)
        0.17024128635

    Source:
        Yang 2019 (MIDL), in the form of Ma 2021, doi:10.1016/j.media.2021.102035.
    """

    k: float = 2.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.k >= 0:
            raise ValueError(f"k: expected at least 0, got {self.k!r}")

    def per_class(self, s: ClassSums) -> Tensor:
        """One value for each sample, (B, 1)."""
        generalized = super().per_class(s)
        return generalized / (1 + self.k * (1 - generalized))
