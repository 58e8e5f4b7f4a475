"""Dice under another name that MONAI has for it, with MONAI's arguments."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss.base import options
from medloss_region.dice import DiceLoss


@options
class MaskedDiceLoss(DiceLoss):
    """Dice loss that takes its mask by place, as MONAI's of this name.

    MONAI differs: it multiplies the input by the mask before the activation, which leaves a
    probability of one half in masked voxels.
    """

    def forward(
        self, input: Tensor, target: Any, mask: Tensor | None = None, **extras: Any
    ) -> Tensor:
        """Value of the loss; arguments as those of every loss."""
        return super().forward(input, target, mask=mask, **extras)
