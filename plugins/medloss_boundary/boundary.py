"""Boundary loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss_boundary.distance_loss import DistanceLoss

MAP = "signed_distance"
"""Name of the map φ."""


@options
class BoundaryLoss(DistanceLoss):
    """Boundary loss: probability times signed distance to the true boundary, in mm.

    Formula:
        L = Σ_v p φ / N for each sample and class, φ the signed distance map of the target in mm,
        negative inside, N the number of voxels that count.

    Range: between −(mean depth inside) and the mean distance outside, in mm; the minimum is at
        p = g and is negative. Only differences matter.

    Empty target:
        with ``empty="distance_to_border"`` false positives cost their distance to the image border;
        with ``"zero"`` (the paper's code) value 0 and gradient 0. The gradient does not grow near a
        perfect prediction and does not place the 0.5 threshold well: train it beside a region loss
        and raise its weight late.

    Spacing is taken from ``spacing_mm`` of the call or target mapping, else of the constructor,
    else from a MetaTensor; without any it is refused, ``spacing_mm="voxel"`` asks for voxels.
    A ready ``distance_map`` needs no spacing and saves the transform: the loss is then one more sum
    in the pass of whatever stands beside it.

    Args:
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        convention: ``"surface"``, ``"kervadec"`` or ``"symmetric"``: where the map is zero
            (``medloss.distance.signed_distance``).
        empty: ``"distance_to_border"`` or ``"zero"``.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> loss = BoundaryLoss(spacing_mm=1.0, convention="kervadec")
        >>> round(loss(p, g).item(), 12)
        0.072568542495

    Source:
        Kervadec 2019, arXiv:1812.07032.
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "reduction",
        "batch",
    )

    def terms(self) -> tuple[str | Term, ...]:
        """Σ p φ and the number of voxels."""
        return (Term("map", map=MAP), "v")

    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """The signed distance map of the target."""
        ready = prepared.extras.distance_map  # of 16 bits the sums read it as it is
        return {MAP: self.to_target(prepared) if ready is None else ready}

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean of p φ over the voxels, (B, C)."""
        return s["map", MAP] / s.v.clamp_min(1)
