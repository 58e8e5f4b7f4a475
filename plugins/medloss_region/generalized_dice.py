"""Generalized Dice losses: all classes together, weighted by their volumes."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import RegionLoss, SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio
from medloss.sums.ratios import Linear
from medloss_region.dice import overlap, sums_of_overlap

EXPONENTS = {"square": 2, "simple": 1, "uniform": 0}


def volume_weights(target: Tensor, exponent: int, counts: Tensor) -> Tensor:
    """Weights w_c = (Σ g)^−exponent scaled to Σ_c w_c = 1; an absent class takes the largest.

    Args:
        target: Σ g, (B, C).
        exponent: 2, 1 or 0.
        counts: (B, C) bool, the classes that were annotated; others have the weight 0.
    """
    absent = target == 0
    inverse = torch.where(absent, 0, torch.where(absent, 1, target).pow(-exponent))
    largest = inverse.amax(1, keepdim=True)
    weight = torch.where(absent, torch.where(largest == 0, 1, largest), inverse) * counts
    return ratio(weight, weight.sum(1, keepdim=True))


@options
class GeneralizedDiceLoss(RegionLoss):
    """Dice loss over all classes together, each weighted by its inverse volume.

    Formula:
        L = 1 − (2 Σ_c w_c Σ p g + smooth_nr) / (Σ_c w_c (Σ p + Σ g) + smooth_dr) for each sample,
        w_c = (Σ g)^−2 (``square``), (Σ g)^−1 (``simple``) or 1 (``uniform``), scaled to Σ w = 1.

    Range: [0, 1].

    Empty target:
        a class that is absent takes the largest weight of those present. Where no class that counts
        is present (background excluded, empty image) the loss is the mean predicted probability,
        so false positives always cost something.

    MONAI differs: it adds the smoothing to sums scaled by 1/n², where a large organ drowns in it
    (every voxel of 10⁶ wrong: 0.308 instead of 1), and returns 0 with no gradient on an empty image
    without background.

    Args:
        w_type: ``"square"``, ``"simple"`` or ``"uniform"``.
        soft_label: the formula that is right for labels between 0 and 1.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> loss = GeneralizedDiceLoss(softmax=True, smooth_nr=0, smooth_dr=0)
        >>> round(loss(z, y).item(), 12)
        0.417959566582

    Source:
        Sudre 2017, arXiv:1707.03237.
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "w_type",
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
        "soft_label",
    )

    w_type: Literal["square", "simple", "uniform"] = "square"
    soft_label: bool = False

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight is not None:
            raise ValueError("weight: expected None, the volumes weight the classes (see w_type)")

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        return (*sums_of_overlap(soft_label=self.soft_label), "v")

    def as_ratio(self, prepared: Prepared) -> tuple[Linear, Linear]:
        """Twice the overlap over both volumes, of all classes together."""
        common: Linear = (("tp", 2),)
        if self.soft_label:
            common = (("p", 1), ("t", 1), ("l1", -1))
        return common, (("p", 1), ("t", 1))

    def volume_exponent(self) -> int:
        """That of ``w_type``."""
        return EXPONENTS[self.w_type]

    def per_class(self, s: ClassSums) -> Tensor:
        """One value for each sample, (B, 1)."""
        weight = volume_weights(s.t, EXPONENTS[self.w_type], s.v > 0)
        pooled = 2 * (weight * overlap(s, soft_label=self.soft_label)).sum(1, keepdim=True)
        sizes = (weight * (s.p + s.t)).sum(1, keepdim=True)
        value = 1 - (pooled + self.smooth_nr) / (sizes + self.smooth_dr)
        nothing = s.t.sum(1, keepdim=True) == 0
        mean_probability = ratio(s.p.sum(1, keepdim=True), s.v.sum(1, keepdim=True))
        return torch.where(nothing, mean_probability, value)


@options
class PenaltyGeneralizedDiceLoss(GeneralizedDiceLoss):
    """Generalized Dice loss, bent so that its slope grows with the loss.

    Formula:
        L = G / (1 + k (1 − G)) for each sample, G the generalized Dice loss; the slope grows from
        1 / (1 + k) at G = 0 to 1 + k at G = 1.

    Range: [0, 1].

    Empty target:
        as generalized Dice: where no class that counts is present G is the mean predicted
        probability, so false positives cost something.

    Args:
        k: strength of the bend; 0 is generalized Dice, the paper takes 2.5.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> loss = PenaltyGeneralizedDiceLoss(softmax=True, smooth_nr=0, smooth_dr=0)
        >>> round(loss(z, y).item(), 12)
        0.17024128635

    Source:
        Yang 2019 (MIDL), in the form of Ma 2021, doi:10.1016/j.media.2021.102035.
    """

    k: float = 2.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.k >= 0:
            raise ValueError(f"k: expected at least 0, got {self.k!r}")

    def per_class(self, s: ClassSums) -> Tensor:
        """One value for each sample, (B, 1)."""
        generalized = super().per_class(s)
        return generalized / (1 + self.k * (1 - generalized))


generalized_dice = GeneralizedDiceLoss
"""MONAI's short name."""
