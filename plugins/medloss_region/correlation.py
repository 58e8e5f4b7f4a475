"""Losses on the correlation of prediction and label, and on the angle between them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import RegionLoss, SegmentationLoss, options
from medloss.sums import ClassSums


@options
class MCCLoss(RegionLoss):
    """One minus Matthews' correlation coefficient, which counts true negatives too.

    Formula:
        L = 1 − (TP TN − FP FN + smooth_nr) / √((TP + FP) (TP + FN) (TN + FP) (TN + FN) + smooth_dr)
        for each sample and class, in float64 as 1 − (N Σpg − Σp Σg) / √(Σp Σg (N − Σp) (N − Σg))
        over N voxels.

    Range: [0, 2]; 1 is chance.

    Empty target:
        the coefficient is undefined and taken as 0: value 1 and gradient exactly 0, for a full
        target too. Put cross entropy beside it.

    MONAI differs: where a hard prediction is perfect it sets 0, for an empty and a full target too.

    Args:
        smooth_nr: added to the difference of two products of volumes; here 0, as in MONAI.
        smooth_dr: added under the root, a product of four volumes.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(MCCLoss(smooth_dr=0)(p, g).item(), 12)
        0.652339151563

    Source:
        Abhishek and Hamarneh 2021, doi:10.1109/ISBI48211.2021.9433782.
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
    )

    two_channels_equal_one: ClassVar[bool] = True

    smooth_nr: float = 0.0

    def terms(self) -> tuple[str, ...]:
        """Overlap and volumes."""
        return ("tp", "p", "t", "v")

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the coefficient, (B, C)."""
        tp, p, t, v = s.tp.double(), s.p.double(), s.t.double(), s.v.double()
        product = p * t * (v - p) * (v - t)
        defined = ~(product <= 0)  # a NaN has to come out
        root = torch.where(defined, product + self.smooth_dr, 1).sqrt()
        value = 1 - torch.where(defined, v * tp - p * t + self.smooth_nr, 0) / root
        return torch.where(v == 0, 0, value).to(s.tp)


@options
class TvMFDiceLoss(RegionLoss):
    """Dice loss on the sharpened angle between prediction and label.

    Formula:
        L = (1 − t)² for each sample and class, t = (1 + c) / (1 + κ (1 − c)) − 1,
        c = Σ p g / √(Σ p² Σ g²). The smoothing options have no use here.

    Range: [0, 4]; [0, 1] for κ = 0.

    Empty target:
        c is taken as 0: a constant (3.88 for κ = 32, 1 for κ = 0) and gradient 0.

    Blind to scale: p = 0.001 g has the loss 0, and on a full target every constant p has. It does
    not place the 0.5 threshold: never alone. The paper pools the batch (``batch=True``) and sets
    κ_c = 32 times the validation Dice of the class after each epoch; assign ``kappa`` for that.

    Args:
        kappa: κ, at least 0; larger punishes small angles harder.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(TvMFDiceLoss(kappa=2.0)(p, g).item(), 12)
        0.656981264833

    Source:
        Kato and Hotta 2022, arXiv:2207.07842.
    """

    kappa: float = 32.0

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kappa >= 0:
            raise ValueError(f"kappa: expected at least 0, got {self.kappa!r}")

    def terms(self) -> tuple[str, ...]:
        """Overlap, squares and volume."""
        return ("tp", "pp", "tt", "v")

    def per_class(self, s: ClassSums) -> Tensor:
        """Squared distance of the sharpened cosine from 1, (B, C)."""
        product = s.pp * s.tt
        defined = ~(product <= 0)  # a NaN has to come out
        norm = torch.where(defined, product, 1).sqrt()
        cosine = torch.where(defined, s.tp, 0) / norm
        sharpened = (1 + cosine) / (1 + self.kappa * (1 - cosine)) - 1
        value = (1 - sharpened).square()
        return torch.where(s.v == 0, 0, value)
