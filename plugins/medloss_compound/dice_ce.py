"""Dice plus cross entropy."""

from __future__ import annotations

from typing import ClassVar

from medloss.base import SegmentationLoss, options
from medloss.compound.schedules import Weight
from medloss.compound.weighted_sum import WeightedSum
from medloss_distribution.cross_entropy import CrossEntropyLoss
from medloss_region.dice import DiceLoss


@options
class DiceCELoss(WeightedSum):
    """Dice loss plus cross entropy, under one activation.

    Formula:
        L = lambda_dice L_Dice + lambda_ce L_CE; CE is categorical under softmax and binary, for
        each class, under sigmoid. ``include_background`` concerns the Dice term alone.

    Range: [0, ∞).

    Empty target:
        cross entropy keeps value and gradient.

    MONAI differs: with ``sigmoid=True`` and several channels its cross entropy is a softmax one;
    without an activation it takes the same input as probabilities for Dice and as logits for cross
    entropy, where here both see probabilities.

    Args:
        squared_pred: squares in Dice's denominator.
        jaccard: the Jaccard form of the Dice term.
        lambda_dice: weight of the Dice term, or a schedule of it.
        lambda_ce: weight of the cross entropy, or a schedule of it.
        label_smoothing: of the cross entropy, softmax only.
        weight: one number for each class; under sigmoid, of the positives of the cross entropy.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(DiceCELoss(softmax=True, smooth_nr=0, smooth_dr=0)(z, y).item(), 12)
        0.947113350402

    Source:
        Isensee 2018, arXiv:1809.10486 (nnU-Net).
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "squared_pred",
        "jaccard",
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
        "weight",
        "lambda_dice",
        "lambda_ce",
        "label_smoothing",
    )

    two_channels_equal_one: ClassVar[bool] = True

    squared_pred: bool = False
    jaccard: bool = False
    lambda_dice: Weight = 1.0
    lambda_ce: Weight = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        weight = self._buffers["class_weight"]
        if weight is not None and weight.ndim != 1:
            raise ValueError("weight: expected one number for each class, got a single number")
        dice_weight = weight
        if weight is not None and not self.include_background:
            dice_weight = weight[1:]
        if dice_weight is not None and len(dice_weight) == 1:  # one class: nothing to weigh against
            dice_weight = None
        dice = DiceLoss(
            include_background=self.include_background,
            squared_pred=self.squared_pred,
            jaccard=self.jaccard,
            weight=dice_weight,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            **self.pass_on(),
        )
        cross_entropy = CrossEntropyLoss(
            weight=weight, label_smoothing=self.label_smoothing, **self.pass_on()
        )
        self.set_terms(
            {"dice": (self.lambda_dice, dice), "cross_entropy": (self.lambda_ce, cross_entropy)}
        )
