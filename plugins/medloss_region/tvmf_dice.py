"""t-vMF Dice loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.sums import ClassSums


def tvmf_similarity(cosine: Tensor, kappa: float) -> Tensor:
    """Cosine of an angle sharpened by κ: (1 + cos) / (1 + κ (1 − cos)) − 1, in [−1, 1]."""
    return (1 + cosine) / (1 + kappa * (1 - cosine)) - 1


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
        value = (1 - tvmf_similarity(cosine, self.kappa)).square()
        return torch.where(s.v == 0, 0, value)
