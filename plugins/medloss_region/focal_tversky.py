"""Focal Tversky loss."""

from __future__ import annotations

from torch import Tensor

from medloss.base import options
from medloss.sums import ClassSums
from medloss.sums.numeric import power
from medloss_region.tversky import TverskyBase


@options
class FocalTverskyLoss(TverskyBase):
    """Tversky loss raised to a power, so that badly segmented classes weigh more.

    Formula:
        L = (1 − TI)^exponent for each sample and class, then the mean;
        TI = (TP + smooth_nr) / (TP + fp_weight FP + fn_weight FN + smooth_dr).
        The paper writes the exponent 1/γ and recommends γ = 4/3, so 0.75; an exponent above 1
        turns the focus the other way.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice. The slope of a power
        below 1 is infinite at a perfect prediction; below 10⁻⁶ a straight line takes its place.

    Args:
        fp_weight: price of a false positive (β of the paper).
        fn_weight: price of a false negative (α of the paper).
        exponent: 1/γ of the paper.
        soft_label: the formula that is right for labels between 0 and 1.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(FocalTverskyLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.494557106827

    Source:
        Abraham and Khan 2018, arXiv:1810.07842.
    """

    fp_weight: float = 0.3
    fn_weight: float = 0.7
    exponent: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exponent > 0:
            raise ValueError(f"exponent: expected more than 0, got {self.exponent!r}")

    def per_class(self, s: ClassSums) -> Tensor:
        """The powered loss, (B, C)."""
        return power(1 - self.index(s), self.exponent)
