"""Dice plus another loss, the usual compounds: cross entropy, focal, TopK, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.compound import Weight, WeightedSum
from medloss.sums import ClassSums
from medloss_distribution.cross_entropy import CrossEntropyLoss
from medloss_distribution.focal import FocalLoss
from medloss_distribution.voxelwise_cross_entropy import TopKCrossEntropyLoss
from medloss_distribution.weighted_cross_entropy import (
    BalancedCrossEntropyLoss,
    BinaryCrossEntropyLoss,
)
from medloss_region.dice import DiceLoss
from medloss_region.generalized_dice import GeneralizedDiceLoss

ORDER = DiceLoss.positional[: DiceLoss.positional.index("weight")]
"""Options that MONAI's compounds with Dice take by place, as its Dice loss, before their own."""


@options
class DiceAnd(WeightedSum):
    """Dice plus another loss: the options of the Dice term."""

    squared_pred: bool = False
    jaccard: bool = False

    def dice(self, **shared: Any) -> DiceLoss:
        """The Dice term, with options that it shares with the other."""
        return DiceLoss(
            squared_pred=self.squared_pred,
            jaccard=self.jaccard,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            **shared,
        )


@options
class DiceCELoss(DiceAnd):
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
        *ORDER,
        "weight",
        "lambda_dice",
        "lambda_ce",
        "label_smoothing",
    )

    two_channels_equal_one: ClassVar[bool] = True

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
        if dice_weight is not None and len(dice_weight) < 2:  # one class: nothing to weigh against
            dice_weight = None
        dice = self.dice(weight=dice_weight, **self.pass_on("include_background"))
        cross_entropy = CrossEntropyLoss(
            weight=weight, label_smoothing=self.label_smoothing, **self.pass_on()
        )
        self.set_terms(
            {"dice": (self.lambda_dice, dice), "cross_entropy": (self.lambda_ce, cross_entropy)}
        )


@options
class DiceFocalLoss(DiceAnd):
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
        *ORDER,
        "gamma",
        "weight",
        "lambda_dice",
        "lambda_focal",
        "alpha",
    )

    gamma: float = 2.0
    alpha: float | Sequence[float] | None = None
    lambda_dice: Weight = 1.0
    lambda_focal: Weight = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = self.pass_on("include_background", "weight")
        dice = self.dice(**shared)
        focal = FocalLoss(gamma=self.gamma, alpha=self.alpha, **shared)
        self.set_terms({"dice": (self.lambda_dice, dice), "focal": (self.lambda_focal, focal)})


@options
class GeneralizedDiceFocalLoss(WeightedSum):
    """Generalized Dice plus focal loss, under one activation.

    ``compound`` with the terms ``generalized_dice`` and ``focal`` is the same. MONAI differs: its
    focal term is on the sigmoid of the logits whatever the activation of the other.

    Args:
        w_type: of the generalized Dice term.
        gamma: of the focal term.
        weight: of the classes in the focal term.
        lambda_gdl: weight of the generalized Dice term.
        lambda_focal: weight of the focal term.
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "w_type",
        *ORDER[ORDER.index("reduction") :],
        "gamma",
        "weight",
        "lambda_gdl",
        "lambda_focal",
    )

    w_type: Literal["square", "simple", "uniform"] = "square"
    gamma: float = 2.0
    lambda_gdl: Weight = 1.0
    lambda_focal: Weight = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = self.pass_on("include_background")
        dice = GeneralizedDiceLoss(
            w_type=self.w_type, smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr, **shared
        )
        focal = FocalLoss(gamma=self.gamma, weight=self.weight, **shared)
        self.set_terms(
            {"generalized_dice": (self.lambda_gdl, dice), "focal": (self.lambda_focal, focal)}
        )


dice_ce, dice_focal, generalized_dice_focal = DiceCELoss, DiceFocalLoss, GeneralizedDiceFocalLoss
"""MONAI's short names."""


@options
class DiceTopKLoss(DiceAnd):
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
    lambda_dice: Weight = 1.0
    lambda_topk: Weight = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = self.pass_on("include_background", "weight")
        dice = self.dice(**shared)
        topk = TopKCrossEntropyLoss(k=self.k, **shared)
        self.set_terms({"dice": (self.lambda_dice, dice), "topk": (self.lambda_topk, topk)})


@options
class BCEDiceLoss(DiceAnd):
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

    lambda_bce: Weight = 1.0
    lambda_dice: Weight = 1.0
    pos_weight: float | Sequence[float] | None = None

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = self.pass_on("include_background", "weight")
        bce = BinaryCrossEntropyLoss(pos_weight=self.pos_weight, **shared)
        dice = self.dice(**shared)
        self.set_terms(
            {"binary_cross_entropy": (self.lambda_bce, bce), "dice": (self.lambda_dice, dice)}
        )


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
