"""Binary cross entropy plus Dice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from medloss.base import options
from medloss.compound.schedules import Weight
from medloss.compound.weighted_sum import WeightedSum
from medloss_distribution.weighted_cross_entropy import BinaryCrossEntropyLoss
from medloss_region.dice import DiceLoss


@options
class BCEDiceLoss(WeightedSum):
    """Binary cross entropy of each class plus Dice loss, under one activation.

    Formula:
        L = lambda_bce L_BCE + lambda_dice L_Dice; classes are independent in both terms, under
        softmax too.

    Range: [0, ∞).

    Empty target:
        binary cross entropy keeps value and gradient.

    Args:
        squared_pred: squares in Dice's denominator.
        jaccard: the Jaccard form of the Dice term.
        lambda_bce: weight of the binary cross entropy, or a schedule of it.
        lambda_dice: weight of the Dice term, or a schedule of it.
        pos_weight: weight of positives in the binary cross entropy.
        weight: one number, or one for each class that counts, for both terms.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(BCEDiceLoss(smooth_nr=1, smooth_dr=1)(p, g).item(), 12)
        0.767625169459

    Source:
        Jadon 2020, arXiv:2006.14822; Isensee 2018, arXiv:1809.10486.
    """

    squared_pred: bool = False
    jaccard: bool = False
    lambda_bce: Weight = 1.0
    lambda_dice: Weight = 1.0
    pos_weight: float | Sequence[float] | None = None

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = self.pass_on("include_background", "weight")
        bce = BinaryCrossEntropyLoss(pos_weight=self.pos_weight, **shared)
        dice = DiceLoss(
            squared_pred=self.squared_pred,
            jaccard=self.jaccard,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            **shared,
        )
        self.set_terms(
            {"binary_cross_entropy": (self.lambda_bce, bce), "dice": (self.lambda_dice, dice)}
        )
