"""Surface Dice as a loss."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, known_voxels, masks_of_classes, options, voxel_size
from medloss.base.targets import Prepared
from medloss.objects.spacing import SpacingLike
from medloss.sums import ClassSums
from medloss_boundary.rims import TERMS, rim_sums


@options
class SurfaceDiceLoss(RegionLoss):
    """Surface Dice: share of both boundaries that is not within a tolerance in mm of the other.

    Formula:
        L = 1 − (Σ ∂p [d(∂g) ≤ τ] + Σ ∂g max_{d ≤ τ} ∂p + smooth_nr) / (Σ ∂p + Σ ∂g + smooth_dr)
        for each sample and class; ∂x = x − (least x of the voxel and its face neighbours), 0 beyond
        the image: for a mask its rim; d between voxel centres in mm, τ = ``tolerance_mm``. Ignored
        voxels have no rim and are no neighbours.

    For masks it is 1 − normalized surface Dice (NSD) of rim voxels that count one each; the metric
    ``normalized_surface_dice`` weighs surface elements by area. Where neither rim is within τ of
    the other there is hardly a gradient: train it beside a region loss, with a τ of some voxels
    first. A ready ``distance_map`` is not used, and no distance transform either: every voxel
    within τ of the true rim of each class is looked at, so that the time grows with τ³.

    Range: [0, 1] for smooth_nr = smooth_dr.

    Empty target:
        as Dice: false positives cost 1, with little gradient; ``smooth_nr`` and ``smooth_dr``
        decide where it begins. A class that fills the image has the image border as rim.

    Spacing is taken as in ``boundary``.

    Args:
        tolerance_mm: τ.
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> moved = g.roll(1, -1)
        >>> [round(SurfaceDiceLoss(tolerance_mm=t, spacing_mm=1.0)(moved, g).item(), 6)
        ...  for t in (0.0, 1.0)]
        [0.5, 0.0]

    Source:
        Nikolov 2018, arXiv:1809.04430 (the metric); as a loss after MIST, arXiv:2407.21343.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    mask_is_a_weight: ClassVar[bool] = False

    two_channels_equal_one: ClassVar[bool] = True

    tolerance_mm: float = 1.0
    spacing_mm: SpacingLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tolerance_mm < math.inf:
            raise ValueError(f"tolerance_mm: expected at least 0, got {self.tolerance_mm!r}")

    def terms(self) -> tuple[str, ...]:
        """The number of voxels; rims are no sums of terms of a single voxel."""
        return ("v",)

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Add the sums over the rims."""
        return super().from_sums(ClassSums(self.rims(prepared), TERMS), prepared)

    def per_class(self, s: ClassSums) -> Tensor:
        """Of each sample and class, (B, C)."""
        near = s.near_true + s.near_predicted + self.smooth_nr
        return 1 - near / (s.predicted + s.true + self.smooth_dr)

    def rims(self, prepared: Prepared) -> Tensor:
        """Sums over the rims, (B, 4, C)."""
        spacing = voxel_size(prepared, self.spacing_mm)
        p, inside = prepared.probabilities(), masks_of_classes(prepared)
        p = p if prepared.mask is None else p * prepared.mask
        skip = 0 if self.include_background else 1
        return rim_sums(p, inside, known_voxels(prepared), spacing, self.tolerance_mm, skip=skip)
