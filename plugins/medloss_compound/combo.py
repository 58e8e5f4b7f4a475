"""Combo loss."""

from __future__ import annotations

from torch import Tensor

from medloss.base import options
from medloss.compound.weighted_sum import WeightedSum
from medloss.sums import ClassSums
from medloss_distribution.weighted_cross_entropy import BalancedCrossEntropyLoss
from medloss_region.dice import DiceLoss


@options
class NegativeDice(DiceLoss):
    """Minus the Dice coefficient: Dice loss without the 1."""

    def per_class(self, s: ClassSums) -> Tensor:
        """−D, (B, C)."""
        return super().per_class(s) - 1


@options
class ComboLoss(WeightedSum):
    """Combo loss: cross entropy with a false-negative balance, mixed with Dice loss.

    Formula:
        L = α · mean of (−β g log p − (1 − β) (1 − g) log(1 − p)) + (1 − α) (1 − D), D the Dice
        coefficient; ``non_negative=False`` leaves out the 1, as the paper: same gradient, lower by
        1 − α; softmax: β weighs the classes but class 0, which has 1 − β.

    Range: [0, ∞); the paper's form [−(1 − α), ∞).

    Empty target:
        cross entropy keeps value and gradient.

    Args:
        alpha: α, the share of the cross entropy, in [0, 1].
        beta: β, in [0, 1]; above 0.5 false negatives cost more. None takes it from the target
            (``balanced_cross_entropy``).
        non_negative: add 1 − α, so that a perfect prediction has 0.
        weight: one number, or one for each class that counts, for both terms.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> for non_negative in (True, False):
        ...     loss = ComboLoss(non_negative=non_negative, smooth_nr=0, smooth_dr=0)
        ...     print(round(loss(p, g).item(), 12))
        0.314909075583
        -0.185090924417

    Source:
        Taghanaki 2019, arXiv:1805.02798.
    """

    alpha: float = 0.5
    beta: float | None = 0.5
    non_negative: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: expected a number in [0, 1], got {self.alpha!r}")
        shared = self.pass_on("include_background", "weight")
        balanced = BalancedCrossEntropyLoss(beta=self.beta, **shared)
        form = DiceLoss if self.non_negative else NegativeDice
        dice = form(smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr, **shared)
        self.set_terms(
            {"balanced_cross_entropy": (self.alpha, balanced), "dice": (1 - self.alpha, dice)}
        )
