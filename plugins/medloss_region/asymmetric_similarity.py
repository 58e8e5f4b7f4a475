"""Asymmetric similarity loss."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.sums import ClassSums
from medloss_region.dice import overlap
from medloss_region.tversky import tversky_index


@options
class AsymmetricSimilarityLoss(RegionLoss):
    """One minus the F_β score: Dice where a missed voxel costs β² false ones.

    Formula:
        L = 1 − ((1 + β²) TP) / ((1 + β²) TP + β² FN + FP) for each sample and class, which is the
        Tversky loss with fp_weight 1 / (1 + β²) and fn_weight β² / (1 + β²) and is smoothed as
        that one; TP = Σ p g, FP = Σ p (1 − g), FN = Σ (1 − p) g.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    Args:
        beta: β; 1 is Dice, more finds more. The paper takes 1.5.
        soft_label: the formula that is right for labels between 0 and 1.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(AsymmetricSimilarityLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.392086330935

    Source:
        Hashemi 2018, arXiv:1803.11078.
    """

    beta: float = 1.5
    soft_label: bool = False

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta >= 0:
            raise ValueError(f"beta: expected at least 0, got {self.beta!r}")

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        return ("l1", "p", "t") if self.soft_label else ("tp", "p", "t")

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the score, (B, C)."""
        tp = overlap(s, soft_label=self.soft_label)
        fp_weight = 1 / (1 + self.beta**2)
        return 1 - tversky_index(
            tp,
            s.p - tp,
            s.t - tp,
            fp_weight=fp_weight,
            fn_weight=1 - fp_weight,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
        )
