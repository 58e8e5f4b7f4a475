"""Dice plus focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from medloss.base import SegmentationLoss, options
from medloss.compound.schedules import Weight
from medloss.compound.weighted_sum import WeightedSum
from medloss_distribution.focal import FocalLoss
from medloss_region.dice import DiceLoss


@options
class DiceFocalLoss(WeightedSum):
    """Dice loss plus focal loss, under one activation.

    Formula:
        L = lambda_dice L_Dice + lambda_focal L_focal, both on the same probabilities.

    Range: [0, ∞).

    Empty target:
        the focal term keeps value and gradient.

    MONAI differs: with ``softmax=True`` its focal term is on the sigmoid of the same logits.

    Args:
        squared_pred: squares in Dice's denominator.
        jaccard: the Jaccard form of the Dice term.
        gamma: focus of the focal term.
        alpha: balance of the focal term.
        lambda_dice: weight of the Dice term, or a schedule of it.
        lambda_focal: weight of the focal term, or a schedule of it.
        weight: one number, or one for each class that counts, for both terms.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> loss = DiceFocalLoss(softmax=True, lambda_focal=3, smooth_nr=0, smooth_dr=0)
        >>> round(loss(z, y).item(), 12)
        0.566812333598

    Source:
        Zhu 2018, arXiv:1808.05238 (AnatomyNet).
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "squared_pred",
        "jaccard",
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
        "gamma",
        "weight",
        "lambda_dice",
        "lambda_focal",
        "alpha",
    )

    squared_pred: bool = False
    jaccard: bool = False
    gamma: float = 2.0
    alpha: float | Sequence[float] | None = None
    lambda_dice: Weight = 1.0
    lambda_focal: Weight = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = self.pass_on("include_background", "weight")
        dice = DiceLoss(
            squared_pred=self.squared_pred,
            jaccard=self.jaccard,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            **shared,
        )
        focal = FocalLoss(gamma=self.gamma, alpha=self.alpha, **shared)
        self.set_terms({"dice": (self.lambda_dice, dice), "focal": (self.lambda_focal, focal)})
