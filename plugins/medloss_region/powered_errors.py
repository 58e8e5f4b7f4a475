"""Losses on powers of the error of each voxel."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio


@options
class NoiseRobustDiceLoss(RegionLoss):
    """Squared Dice loss with a lower power of the error, against wrong labels.

    Formula:
        L = Σ |p − g|^γ / (Σ p² + Σ g² + smooth_dr) for each sample and class, γ the exponent;
        γ = 2 is the squared Dice loss, γ = 1 nearest to the mean absolute error, which tolerates
        wrong labels. smooth_nr has no use here.

    Range: [0, ∞): at most 1 for certain predictions, more for hesitant ones.

    Empty target:
        the value grows as p^(γ − 2) while p falls (3.16 at p = 0.1 and γ = 1.5) up to about
        0.57 (N / smooth_dr)^(1/4) for N voxels and γ = 1.5, and only then falls to 0: the loss
        rises while false positives fade. Keep empty images out, pool the batch, or smooth.

    Args:
        exponent: γ in [1, 2]; the paper takes 1.5.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(NoiseRobustDiceLoss(smooth_dr=0)(p, g).item(), 12)
        0.354102124456

    Source:
        Wang 2020, doi:10.1109/TMI.2020.3000314.
    """

    exponent: float = 1.5

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.exponent <= 2:
            raise ValueError(f"exponent: expected a number in [1, 2], got {self.exponent!r}")

    def terms(self) -> tuple[str | Term, ...]:
        """Powered error and both squares."""
        return (Term("power", float(self.exponent)), "pp", "tt")

    def per_class(self, s: ClassSums) -> Tensor:
        """Powered error over the squares, (B, C)."""
        return ratio(s.power, s.pp + s.tt + self.smooth_dr)


SQUARED_ERROR = Term("power", 2.0)


@options
class SensitivitySpecificityLoss(RegionLoss):
    """Mean squared error on object and background, each divided by its own volume.

    Formula:
        L = r Σ (g − p)² g / Σ g + (1 − r) Σ (g − p)² (1 − g) / Σ (1 − g) for each sample and class,
        r the sensitivity_weight. The smoothing options have no use here.

    Range: [0, 1].

    Empty target:
        the term of the object is 0, the mean squared probability times 1 − r remains and pushes
        false positives down; a full target likewise loses the term of the background.

    Each term is divided by its own volume, so r is no class balance: at r = 0.05 an error rate on
    the background costs 19 times the same rate on the object.

    Args:
        sensitivity_weight: r in [0, 1]; the paper takes 0.01 to 0.10.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(SensitivitySpecificityLoss()(p, g).item(), 12)
        0.12621875

    Source:
        Brosch 2015, doi:10.1007/978-3-319-24574-4_1.
    """

    sensitivity_weight: float = 0.05

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.sensitivity_weight <= 1:
            raise ValueError(
                f"sensitivity_weight: expected a number in [0, 1], got {self.sensitivity_weight!r}"
            )

    def terms(self) -> tuple[str | Term, ...]:
        """Squared error, that on the object, and both volumes."""
        return (SQUARED_ERROR, "sqt", "t", "v")

    def per_class(self, s: ClassSums) -> Tensor:
        """Both weighted terms, (B, C)."""
        on_object = ratio(s.sqt, s.t)
        on_background = ratio(s.power - s.sqt, s.v - s.t)
        return self.sensitivity_weight * on_object + (1 - self.sensitivity_weight) * on_background
