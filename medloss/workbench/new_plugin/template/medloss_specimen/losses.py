"""Losses of this plugin."""

from __future__ import annotations

from medloss.base import RegionLoss, options
from medloss.sums import ClassSums
from medloss.sums.numeric import power
from torch import Tensor


@options
class SpecimenDiceLoss(RegionLoss):
    """Dice loss to a power, so that classes that are learnt already weigh less or more.

    Formula:
        L = ((Σ p + Σ g − 2 Σ p g) / (Σ p + Σ g + smooth_dr))^exponent for each sample and class.

    Range: [0, 1].

    Empty target:
        value 1 wherever the prediction is not empty, and almost no gradient, as Dice.

    Args:
        exponent: 1 is Dice; above 1 the classes that are still wrong weigh more.

    Example:
        >>> import torch
        >>> p = torch.tensor([0.9, 0.6, 0.2, 0.1]).view(1, 1, 4).double()
        >>> g = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 4)
        >>> round(SpecimenDiceLoss(exponent=2.0, smooth_dr=0.0)(p, g).item(), 7)
        0.0443213

    Source:
        The authors of this plugin.
    """

    exponent: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exponent > 0:
            raise ValueError(f"exponent: expected a number above 0, got {self.exponent!r}")

    def terms(self) -> tuple[str, ...]:
        """The sums of each class that the formula is made of."""
        return ("tp", "p", "t")

    def per_class(self, s: ClassSums) -> Tensor:
        """The loss of each sample and class, (B, C)."""
        size = s.p + s.t
        return power((size - 2 * s.tp) / (size + self.smooth_dr), self.exponent)
