"""Border-weighted cross entropy (U-Net)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import options
from medloss.base.distance_maps import masks_of_classes, voxel_size
from medloss.base.targets import Prepared
from medloss.objects.spacing import SpacingLike
from medloss_distribution.cross_entropy import CrossEntropyLoss
from medloss_distribution.distances import gap_width, instances
from medloss_distribution.voxelwise_cross_entropy import EachVoxelLoss, weighed

REACH = 6.0
"""How far an object is felt, in units of sigma: beyond it, b is below w0 exp(-18)."""


@options
class BorderWeightedCrossEntropyLoss(EachVoxelLoss):
    """Cross entropy that weighs narrow gaps between objects, as U-Net does.

    Formula:
        L = Σ_v (w_y + b) (−log p_y) / N, y the true class, N the number of voxels;
        b = w0 exp(−(d1 + d2)² / 2σ²) in the background and 0 elsewhere, d1 and d2 the distances in
        mm to the nearest and second nearest object; sigmoid: for each class likewise, b where no
        class is.

    Objects are ``components`` where given; otherwise connected components (across corners too) of
    each foreground class, found on the host: objects that touch are then one. Either way there is
    one distance transform on the host for each object, within 6σ of it: some 15 ms in 3D where σ
    is 5 voxels, 0.1 ms in 2D. Spacing is taken as in ``boundary``.

    Range: [0, ∞).

    Empty target:
        with fewer than two objects b is 0: cross entropy, value and full gradient.

    Args:
        w0: weight of an infinitely narrow gap.
        sigma_mm: σ, in mm; the paper has 5 voxels.
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        weight: w_c, one number, or one for each class that counts; 1 by default.

    Example:
        >>> import torch
        >>> y = torch.zeros(1, 1, 5, 9, dtype=torch.long)
        >>> y[..., 1:4, 1:4] = y[..., 1:4, 5:8] = 1
        >>> loss = BorderWeightedCrossEntropyLoss(softmax=True, spacing_mm=1.0, reduction="none")
        >>> each = loss(torch.zeros(1, 2, 5, 9, dtype=torch.float64), y)[0, 0]
        >>> round((each[2, 4] / each[2, 3]).item(), 10)  # the gap beside a cell, 1 + b
        10.2311634639

    Source:
        Equation 2 of Ronneberger 2015, arXiv:1505.04597.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    w0: float = 10.0
    sigma_mm: float = 5.0
    spacing_mm: SpacingLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.w0 >= 0:
            raise ValueError(f"w0: expected at least 0, got {self.w0!r}")
        if not self.sigma_mm > 0:
            raise ValueError(f"sigma_mm: expected more than 0, got {self.sigma_mm!r}")
        self.unweighted = CrossEntropyLoss(include_background=self.include_background)

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Weighted cross entropy of each voxel, and 1 for each that counts."""
        value, _ = weighed(self.cross_entropy, prepared)
        border, counts = weighed(self.unweighted, prepared, self.border(prepared))
        return value + border, counts

    @torch.no_grad()
    def border(self, prepared: Prepared) -> Tensor:
        """Border term b of each voxel, (B, 1, *spatial)."""
        spacing = voxel_size(prepared, self.spacing_mm)
        width = gap_width(instances(prepared), spacing, reach=REACH * self.sigma_mm)
        squared = torch.as_tensor(width).to(prepared.input)[:, None].square()
        border = self.w0 * torch.exp(-squared / (2 * self.sigma_mm**2))
        objects = masks_of_classes(prepared, skip=1 if prepared.is_exclusive else 0)
        return torch.where(objects.any(1, keepdim=True), 0, border)
