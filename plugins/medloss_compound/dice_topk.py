"""Dice plus cross entropy over the hardest voxels."""

from __future__ import annotations

from medloss.base import options
from medloss.compound.schedules import Weight
from medloss.compound.weighted_sum import WeightedSum
from medloss_distribution.voxelwise_cross_entropy import TopKCrossEntropyLoss
from medloss_region.dice import DiceLoss


@options
class DiceTopKLoss(WeightedSum):
    """Dice loss plus cross entropy over the hardest voxels, under one activation.

    Formula:
        L = lambda_dice L_Dice + lambda_topk L_TopK, L_TopK the mean of the k N largest cross
        entropies of the N voxels that count: of each image, with ``batch=True`` of the batch.

    Range: [0, ∞).

    Empty target:
        the worst false positives keep value and gradient.

    Args:
        k: fraction of the voxels, in (0, 1].
        squared_pred: squares in Dice's denominator.
        jaccard: the Jaccard form of the Dice term.
        lambda_dice: weight of the Dice term, or a schedule of it.
        lambda_topk: weight of the TopK term, or a schedule of it.
        weight: one number, or one for each class that counts, for both terms.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(DiceTopKLoss(softmax=True, k=0.5, smooth_nr=0, smooth_dr=0)(z, y).item(), 12)
        1.290424090343

    Source:
        Ma 2021, doi:10.1016/j.media.2021.102035.
    """

    k: float = 0.1
    squared_pred: bool = False
    jaccard: bool = False
    lambda_dice: Weight = 1.0
    lambda_topk: Weight = 1.0

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
        topk = TopKCrossEntropyLoss(k=self.k, **shared)
        self.set_terms({"dice": (self.lambda_dice, dice), "topk": (self.lambda_topk, topk)})
