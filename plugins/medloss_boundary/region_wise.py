"""Region-wise loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medloss.base import options
from medloss.base.distance_maps import known_voxels, masks_of_classes
from medloss.base.targets import Prepared
from medloss.distance import Convention
from medloss.sums import ClassSums, Term
from medloss_boundary.distance_loss import DistanceLoss

MAP = "region_wise"
"""Name of the map Z."""


@options
class RegionWiseLoss(DistanceLoss):
    """Rectified region-wise loss: probability times a map of minus depth inside, 1 outside.

    Formula:
        L = Σ_v p Z / N for each sample and class; Z = −d / (largest d) inside the target, d the
        distance in mm to the outside, and Z = 1 outside; N is the number of voxels that count.

    Every false positive costs the same wherever it is; what is inside counts by its depth relative
    to the object, so that Z has no unit and small objects count as much as large ones.

    Range: [−1, 1]; the minimum, at p = g, is negative. Only differences matter.

    Empty target:
        Z is 1 everywhere: false positives cost as ever, with full gradient. A class that fills the
        image takes the distance to the image border as depth. ``empty="zero"`` makes both silent.

    Spacing is taken as in ``boundary``; a ready ``distance_map`` needs none.

    Args:
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        convention: what d is: ``"symmetric"`` (between voxel centres, as the paper), ``"surface"``
            or ``"kervadec"``.
        empty: ``"distance_to_border"`` or ``"zero"``.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> both = torch.cat([1 - p, p], 1), torch.cat([1 - g, g], 1)
        >>> round(RegionWiseLoss(spacing_mm=1.0)(*both).item(), 12)
        -0.197735064736

    Source:
        Valverde 2021, arXiv:2108.01405.
    """

    convention: Convention = "symmetric"

    def terms(self) -> tuple[str | Term, ...]:
        """Σ p Z and the number of voxels."""
        return (Term("map", map=MAP), "v")

    @torch.no_grad()
    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """Z."""
        inside, known = masks_of_classes(prepared), known_voxels(prepared)
        if known is not None:
            inside = inside & known
        depth = torch.where(inside, -self.to_target(prepared), 0).clamp_min_(0)
        axes = tuple(range(2, depth.ndim))
        deepest = depth.amax(axes, keepdim=True)
        outside = torch.ones_like(deepest)
        if self.empty == "zero":
            outside = inside.flatten(2).any(2).view(deepest.shape).to(depth)
        z = torch.where(inside, -depth / torch.where(deepest > 0, deepest, 1), outside)
        return {MAP: z}

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean of p Z over the voxels, (B, C)."""
        return s["map", MAP] / s.v.clamp_min(1)
