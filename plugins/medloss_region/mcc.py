"""Matthews correlation loss."""

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
        L = 1 − (TP TN − FP FN) / √((TP + FP) (TP + FN) (TN + FP) (TN + FN) + smooth_dr) for each
        sample and class, in float64 as 1 − (N Σpg − Σp Σg) / √(Σp Σg (N − Σp) (N − Σg)) over N
        voxels. smooth_nr has no use here.

    Range: [0, 2]; 1 is chance.

    Empty target:
        the coefficient is undefined and taken as 0: value 1 and gradient exactly 0, for a full
        target too. Put cross entropy beside it.

    Args:
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

    def terms(self) -> tuple[str, ...]:
        """Overlap and volumes."""
        return ("tp", "p", "t", "v")

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the coefficient, (B, C)."""
        tp, p, t, v = s.tp.double(), s.p.double(), s.t.double(), s.v.double()
        product = p * t * (v - p) * (v - t)
        defined = ~(product <= 0)  # a NaN has to come out
        root = torch.where(defined, product + self.smooth_dr, 1).sqrt()
        value = 1 - torch.where(defined, v * tp - p * t, 0) / root
        return torch.where(v == 0, 0, value).to(s.tp)
