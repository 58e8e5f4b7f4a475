"""Sensitivity-specificity loss."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio

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
