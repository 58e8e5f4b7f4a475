"""Losses under the names that MONAI has for them, with MONAI's arguments."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.compound.schedules import Weight
from medloss.compound.weighted_sum import WeightedSum
from medloss_compound.unified_focal import UnifiedCrossEntropy, UnifiedTversky
from medloss_distribution.focal import FocalLoss
from medloss_region.generalized_dice import GeneralizedDiceLoss


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
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
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


@options
class AsymmetricUnifiedFocalLoss(WeightedSum):
    """Asymmetric unified focal loss with the weights of MONAI's, which halves the focal term.

    ``unified_focal`` with ``asymmetric=True`` is the published one, for any number of classes and
    with an activation. This one takes probabilities, of two channels or of one.

    Args:
        num_classes: 2.
        weight: share of the focal term.
        gamma: as in ``unified_focal``.
        delta: as in ``unified_focal``.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "to_onehot_y",
        "num_classes",
        "weight",
        "gamma",
        "delta",
        "reduction",
        "ignore_index",
    )

    num_classes: int = 2
    weight: float = 0.5
    gamma: float = 0.5
    delta: float = 0.7

    def __post_init__(self) -> None:
        if self.num_classes != 2:
            raise ValueError(
                f"num_classes: expected 2, got {self.num_classes}; UnifiedFocalLoss takes any"
            )
        share, self.weight = self.weight, None  # type: ignore[assignment]
        super().__post_init__()
        tversky = UnifiedTversky(
            delta=self.delta,
            exponent=1 - self.gamma,
            background_exponent=1.0,
            smooth_nr=0.0,
            smooth_dr=1e-7,
            **self.pass_on(),
        )
        focal = UnifiedCrossEntropy(
            delta=self.delta, gamma=self.gamma, asymmetric=True, **self.pass_on()
        )
        self.set_terms({"tversky": (1 - share, tversky), "focal": (share / 2, focal)})
        self.weight = share

    def forward(  # type: ignore[override]
        self, y_pred: Tensor, y_true: Any, **extras: Any
    ) -> Tensor:
        """Value of the loss; arguments as those of every loss, under MONAI's names."""
        return super().forward(y_pred, y_true, **extras)
