"""Hausdorff distance loss on erosions."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.base.targets import Prepared
from medloss.runtime.eager import evaluate
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss_boundary.erosion import Eroded

ERODED, VOXELS = Term("eroded"), Term("v")


@options
class HausdorffErosionLoss(RegionLoss):
    """Hausdorff distance loss by erosion: thick errors cost more the more erosions they survive.

    Formula:
        e_0 = (p − g)²; e_k = max(B ∗ e_(k−1) − 1/2, 0), B the mean over a voxel and its face
        neighbours; with ``normalize`` each e_k is then stretched to [0, 1];
        L = Σ_k k^alpha Σ_v e_k / N for each sample and class, k from 1 to ``erosions``, N the
        number of voxels that count.

    No distance transform, and a gradient through every step. But errors are measured in erosions,
    that is voxels, not in mm (resample anisotropic images, or take ``hausdorff_dt``); what is
    thinner than 3 voxels does not survive the first erosion and costs nothing; and without
    ``normalize`` hardly anything survives the second. Ignored voxels have no error, as what is
    beyond the image: an error beside them is eroded from that side.

    Range: [0, ∞); with ``normalize`` at most Σ k^alpha.

    Empty target:
        thick false positives cost as ever; scattered ones nothing. Where a whole image is wrong all
        over, its border alone is stretched.

    Args:
        alpha: exponent of the number of erosions.
        erosions: how many.
        normalize: stretch each erosion between its least and largest value in the image.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
        >>> g[..., 3:6, 3:6] = 1
        >>> p = torch.full_like(g, 0.95)
        >>> round(HausdorffErosionLoss(erosions=3)(p, g).item(), 12)
        3.86203006822

    Source:
        Karimi 2019, arXiv:1904.10030; ``normalize`` as the public code of others has it.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    mask_is_a_weight: ClassVar[bool] = False

    two_channels_equal_one: ClassVar[bool] = True

    alpha: float = 2.0
    erosions: int = 10
    normalize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.alpha >= 0:
            raise ValueError(f"alpha: expected at least 0, got {self.alpha!r}")
        if not (isinstance(self.erosions, int) and self.erosions >= 1):
            raise ValueError(f"erosions: expected a whole number from 1 on, got {self.erosions!r}")

    def terms(self) -> tuple[str, ...]:
        """The number of voxels; the rest is no sum over voxels."""
        return ("v",)

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Add what the erosions leave."""
        sums = torch.stack([self.survivors(prepared), s.v], 1)
        return super().from_sums(ClassSums(sums, (ERODED, VOXELS)), prepared)

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean over the voxels of what is left, (B, C)."""
        return ratio(s.eroded, s.v)

    def survivors(self, prepared: Prepared) -> Tensor:
        """Σ_k k^alpha Σ_v e_k, (B, C)."""
        p = prepared.probabilities()
        p = p if prepared.mask is None else p * prepared.mask
        skip = 0 if self.include_background else 1
        eroded = Eroded(skip, self.erosions, self.alpha, self.normalize)
        return evaluate(eroded, p, prepared.target, prepared.mask)
