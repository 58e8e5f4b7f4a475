"""Shape-aware loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import (
    known_voxels,
    masks_of_classes,
    masks_of_prediction,
    options,
    voxel_size,
)
from medloss.base.targets import Prepared
from medloss.distance import EMPTY, Empty, distances, fill_borderless
from medloss.objects.spacing import SpacingLike
from medloss.sums import ClassSums, work_dtype
from medloss.sums.numeric import ratio
from medloss_boundary.rims import rim
from medloss_distribution.cross_entropy import CrossEntropyLoss

SCALED = ("ce", "ce_neg", "nlog")


@options
class ShapeAwareLoss(CrossEntropyLoss):
    """Shape-aware loss: cross entropy, more of it the farther the predicted contour is off, in mm.

    Formula:
        L = Σ_c (1 + E_c) CE_c for each sample, CE_c the part of the cross entropy that voxels of
        class c have in the mean; E_c = mean over the contour of the prediction, p_c > 0.5, of the
        distance in mm to the nearest voxel of the true contour. A contour is what of an object has
        a face neighbour outside of it or beyond the image; an ignored one is not outside.

    E_c is a constant: it scales the gradient of the cross entropy and adds none. One distance
    transform of each class; a ready ``distance_map`` saves it, its absolute value is then read.

    Range: [0, ∞).

    Empty target:
        the distances of what is predicted are those to the image border
        (``empty="distance_to_border"``), or E_c = 0 (``"zero"``); nothing predicted gives E_c = 0.
        Cross entropy keeps value and gradient either way.

    Spacing is taken as in ``boundary``.

    Args:
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        empty: ``"distance_to_border"`` or ``"zero"``.
        label_smoothing: as in ``cross_entropy``.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> round(ShapeAwareLoss(spacing_mm=1.0)(p, g).item(), 12)
        0.271764892576

    Source:
        Al Arif 2017, as equations 15 and 16 of Jadon 2020, arXiv:2006.14822, whose signs are wrong.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    spacing_mm: SpacingLike | None = None
    empty: Empty = "distance_to_border"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.empty not in EMPTY:
            raise ValueError(f"empty: expected one of {EMPTY}, got {self.empty!r}")

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Cross entropy of scaled sums: those of a region do not give it."""
        return super().from_sums(s, prepared)

    def of_voxels(self, s: ClassSums, prepared: Prepared) -> ClassSums:
        """The same with 1 + E_c times what is cross entropy."""
        s = super().of_voxels(s, prepared)
        factor = 1 + self.contour_distance(prepared)[:, None]
        factor = factor.reshape(*factor.shape, *[1] * (s.values.ndim - 3))
        scales = torch.tensor([term.name in SCALED for term in s.terms], device=factor.device)
        of_terms = scales.view(1, -1, *[1] * (s.values.ndim - 2))
        return ClassSums(s.values * torch.where(of_terms, factor, 1), s.terms)

    @torch.no_grad()
    def contour_distance(self, prepared: Prepared) -> Tensor:
        """E of each sample and class, (B, C)."""
        known = known_voxels(prepared)
        true, found = masks_of_classes(prepared), masks_of_prediction(prepared)
        contour = rim(found, known)
        if prepared.extras.distance_map is not None:
            away = prepared.extras.distance_map.abs().to(work_dtype(prepared.values))
        else:
            away = self.to_contour(rim(true, known), prepared)
        total = torch.where(contour, away, 0).flatten(2).sum(2)
        return ratio(total, contour.flatten(2).sum(2).to(total))

    def to_contour(self, contour: Tensor, prepared: Prepared) -> Tensor:
        """Distance in mm to the nearest voxel of the true contour, (B, C, *spatial)."""
        spacing = voxel_size(prepared, self.spacing_mm)
        dtype = work_dtype(prepared.values)
        away = distances(contour, spacing, inside=0, dtype=dtype)
        empties = ~contour.flatten(2).any(2)
        fill_borderless(away, empties, torch.zeros_like(empties), spacing, self.empty)
        return away
