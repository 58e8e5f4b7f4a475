"""A loss that meets the whole contract; the broken ones differ from it in one way."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums


@options
class GoodLoss(RegionLoss):
    """Squared error over what is there.

    Formula:
        L = scale Σ (p − g)² / (Σ p² + Σ g² + smooth_dr).

    Range: [0, scale].

    Empty target:
        finite.

    Args:
        scale: factor of the loss.

    Example:
        >>> import torch
        >>> from testing.good_losses import GoodLoss
        >>> loss = GoodLoss(sigmoid=True)(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
        >>> round(loss.item(), 4)
        0.2

    Source:
        Nobody 2024.
    """

    scale: float = 1.0
    two_channels_equal_one: ClassVar[bool] = True

    def terms(self) -> tuple[str, ...]:
        return ("pp", "tt", "tp")

    def per_class(self, s: ClassSums) -> Tensor:
        squares = s.pp + s.tt
        return self.scale * (squares - 2 * s.tp) / (squares + self.smooth_dr)


class NeedyLoss(GoodLoss):
    """Takes nothing without its maps."""

    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        for name in ("distance_map", "skeleton", "components"):
            each = getattr(prepared.extras, name)
            if each is None:
                raise ValueError(f"{name}: expected a map, got none")
            value = value * (1 + 0 * each.sum())
        return value


class ExclusiveLoss(GoodLoss):
    """Takes only exclusive classes."""

    two_channels_equal_one: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigmoid:
            raise ValueError("sigmoid: expected exclusive classes")


class BinaryLoss(GoodLoss):
    """Takes one channel and no softmax."""

    two_channels_equal_one: ClassVar[bool] = False

    def check(self, prepared: Prepared) -> None:
        super().check(prepared)
        if self.softmax or prepared.input.shape[1] != 1:
            raise ValueError("softmax, input: expected one channel and sigmoid=True")
