"""Log-cosh Dice loss."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import options
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio
from medloss_region.dice import DiceBase


def log_cosh(x: Tensor) -> Tensor:
    """Log cosh x as log(1 + 2 sinh²(x / 2)): exact near 0, for |x| of a few units."""
    return torch.log1p(2 * torch.sinh(x / 2).square())


@options
class LogCoshDiceLoss(DiceBase):
    """Logarithm of the hyperbolic cosine of the Dice loss: Dice with a flat minimum.

    Formula:
        L = log cosh D for each sample, D the mean over the classes that count of
        1 − (2 Σ p g + smooth_nr) / (Σ p + Σ g + smooth_dr).

    Range: [0, log cosh 1 ≈ 0.434].

    Empty target:
        as Dice: the largest value and almost no gradient with the default smoothing.

    The gradient is tanh(D) times that of Dice: the better the prediction, the less push is left.

    Args:
        squared_pred: squares in the denominator.
        soft_label: the formula that is right for labels between 0 and 1.
        weight: none; the logarithm is taken of all classes together.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(LogCoshDiceLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.084035647523

    Source:
        Jadon 2020, arXiv:2006.14822, equation 32.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight is not None:
            raise ValueError("weight: expected None, all classes together have one value")

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        return (*super().terms(), "v")

    def per_class(self, s: ClassSums) -> Tensor:
        """One value for each sample, (B, 1)."""
        annotated = (s.v > 0).to(s.v)
        dice = (1 - self.coefficient(s)) * annotated
        return log_cosh(ratio(dice.sum(1, keepdim=True), annotated.sum(1, keepdim=True)))
