"""Distance-penalised cross entropy."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import options
from medloss.base.targets import Prepared
from medloss.objects.spacing import SpacingLike
from medloss_distribution.distances import nearness
from medloss_distribution.voxelwise_cross_entropy import EachVoxelLoss, weighed


@options
class DistancePenalizedCrossEntropyLoss(EachVoxelLoss):
    """Cross entropy that counts up to twice as much near the true border.

    Formula:
        L = Σ_v (1 + φ_y) w_y (−log p_y) / Σ_v w_y, y the true class;
        sigmoid: the mean of (1 + φ) (binary cross entropy) of each class;
        φ = (largest d − d) / (largest d − smallest d), d the distance in mm to the border of the
        class, inside and outside each on its own scale: 1 along the border, 0 farthest from it.

    A class without a border, empty or filling the image, has φ = 0; a side that is one voxel deep
    is all border, φ = 1. Spacing is taken as in ``boundary``. A ready ``distance_map`` needs none
    and saves a distance transform of each class in every step (sigmoid: two), which takes far
    longer than the rest where objects are few and far apart.

    Range: [0, ∞).

    Empty target:
        plain cross entropy, value and full gradient.

    Args:
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> round(DistancePenalizedCrossEntropyLoss(spacing_mm=1.0)(p, g).item(), 12)
        0.392152224218

    Source:
        Caliva 2019, arXiv:1908.03679 (the idea; the scale of φ is that of Ma 2021,
        doi:10.1016/j.media.2021.102035).
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    spacing_mm: SpacingLike | None = None

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Penalised cross entropy and weight of each voxel."""
        near = nearness(prepared, self.spacing_mm)
        return weighed(self.cross_entropy, prepared, 1 + near)
