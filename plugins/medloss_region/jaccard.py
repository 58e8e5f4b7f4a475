"""Soft Jaccard loss."""

from __future__ import annotations

from torch import Tensor

from medloss.base import options
from medloss.sums import ClassSums
from medloss_region.dice import DiceBase


@options
class JaccardLoss(DiceBase):
    """Soft Jaccard (IoU) loss, linear or squared.

    Formula:
        L = 1 − (2 Σ p g + smooth_nr) / (2 (Σ p + Σ g − Σ p g) + smooth_dr) for each sample and
        class; squared_pred: Σ p² and Σ g² below; soft_label: Σ p g is
        (Σ p + Σ g − Σ |p − g|) / 2, whose minimum is p = g for soft labels.
        Without smoothing L = 2 D / (1 + D), D the Dice loss: both rank predictions alike, and the
        Jaccard loss has the steeper slope near a perfect one.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    Args:
        squared_pred: squares in the denominator.
        soft_label: the formula that is right for labels between 0 and 1.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(JaccardLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.587301587302

    Source:
        Rahman and Wang 2016, doi:10.1007/978-3-319-50835-1_22; Wang 2023, arXiv:2302.05666 (soft
        labels).
    """

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the coefficient, (B, C)."""
        return 1 - self.coefficient(s, jaccard=True)
