"""Losses that weigh each voxel by its distance to the true boundary, in mm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import (
    RegionLoss,
    SegmentationLoss,
    known_voxels,
    map_of_target,
    masks_of_classes,
    masks_of_prediction,
    options,
    voxel_size,
)
from medloss.base.targets import Prepared
from medloss.distance import Convention, Empty, check_map_options, signed_distance
from medloss.objects.spacing import SpacingLike
from medloss.sums import ClassSums, Term, work_dtype
from medloss.sums.numeric import ratio

PHI, Z = "signed_distance", "region_wise"
"""Names of the maps φ and Z."""
MAPS = ("squared_distance", "squared_distance_signed_by_target")
"""Names of the maps D² and ψ."""
CONSTANTS = (Term("d2"), Term("psi"))


@options
class DistanceLoss(RegionLoss):
    """A region loss on distances to the boundary of the target, or of the prediction too.

    Spacing is taken from ``spacing_mm`` of the call or target mapping, else of the constructor,
    else from a MetaTensor; without any it is refused, ``spacing_mm="voxel"`` asks for voxels.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    two_channels_equal_one: ClassVar[bool] = True

    spacing_mm: SpacingLike | None = None
    convention: Convention = "surface"
    empty: Empty = "distance_to_border"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_map_options(self.convention, self.empty)

    @property
    def skip(self) -> int:
        """How many classes need no map."""
        return 0 if self.include_background else 1

    def to_target(self, prepared: Prepared) -> Tensor:
        """Signed distances to the boundary of the target, ready or computed, (B, C, *spatial)."""
        return map_of_target(
            prepared,
            self.spacing_mm,
            convention=self.convention,
            empty=self.empty,
            skip=self.skip,
        )

    def to_prediction(self, prepared: Prepared) -> Tensor:
        """Signed distances to where the prediction passes 0.5, a constant for the gradient."""
        return signed_distance(
            masks_of_prediction(prepared, self.skip),
            voxel_size(prepared, self.spacing_mm),
            convention=self.convention,
            empty=self.empty,
            known=known_voxels(prepared),
            skip=self.skip,
            dtype=work_dtype(prepared.values),
        )


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
        return (Term("map", map=PHI), "v")

    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """The signed distance map of the target."""
        ready = prepared.extras.distance_map  # of 16 bits the sums read it as it is
        return {PHI: self.to_target(prepared) if ready is None else ready}

    def is_additive(self, prepared: Prepared) -> bool:
        """With a ready map."""
        return prepared.extras.distance_map is not None

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean of p φ over the voxels, (B, C)."""
        return s["map", PHI] / s.v.clamp_min(1)


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
        return (Term("map", map=Z), "v")

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
        return {Z: z}

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean of p Z over the voxels, (B, C)."""
        return s["map", Z] / s.v.clamp_min(1)


@options
class GeneralizedSurfaceLoss(DistanceLoss):
    """Generalised surface loss: share of the squared distances that lies in wrong voxels.

    Formula:
        L = 1 − Σ_v D² (1 − g − p)² / Σ_v D² for each sample and class, D the distance of the voxel
        in mm to the boundary of the target. It is computed from sums as
        (Σ D² − Σ ψ + 2 Σ p ψ − Σ (p − g)² D²) / Σ D² with ψ = (1 − 2 g) D².

    Errors count by their squared distance, so far false positives and deep holes weigh most. D is a
    constant. No transform of the prediction is needed; with a ready ``distance_map`` none at all.
    Beside other terms in ``compound`` give it ready: it is used twice there.

    Range: [0, 1]; 0 for a perfect prediction, 1 where every voxel is wrong.

    Empty target:
        D is then the distance to the image border (``empty="distance_to_border"``), likewise for a
        class that fills the image: full gradient. With ``"zero"`` value 0 and gradient 0.

    Spacing is taken as in ``boundary``.

    Args:
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        convention: ``"symmetric"`` (between voxel centres), ``"surface"`` or ``"kervadec"``.
        empty: ``"distance_to_border"`` or ``"zero"``.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> round(GeneralizedSurfaceLoss(spacing_mm=1.0)(p, g).item(), 12)
        0.3159375

    Source:
        Celaya 2023, arXiv:2302.03868.
    """

    convention: Convention = "symmetric"

    def terms(self) -> tuple[Term, ...]:
        """Σ (p − g)² D² and Σ p ψ."""
        return (Term("map2", map=MAPS[0]), Term("map", map=MAPS[1]))

    @torch.no_grad()
    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """D² and ψ."""
        squared = self.to_target(prepared).square()
        if prepared.is_index:
            psi = torch.where(masks_of_classes(prepared), -squared, squared)
        else:
            psi = squared * (1 - 2 * prepared.one_hot())
        return dict(zip(MAPS, (squared, psi), strict=True))

    def compute(self, prepared: Prepared) -> Tensor:
        """Sum with the maps, made once."""
        maps = self.maps(prepared)
        return self._with(maps, prepared.sums(self.terms(), maps), prepared)

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """The loss from sums of a shared pass."""
        return self._with(self.maps(prepared), s, prepared)

    def _with(self, maps: Mapping[str, Tensor], s: ClassSums, prepared: Prepared) -> Tensor:
        """The loss from the sums, and those of the maps themselves."""
        weighed = (maps[name] for name in MAPS)
        if prepared.mask is not None:
            weighed = (each * prepared.mask for each in weighed)
        constants = [each.flatten(2).sum(2) for each in weighed]
        own = [s["map2", MAPS[0]], s["map", MAPS[1]]]
        terms = (*self.terms(), *CONSTANTS)
        return super().from_sums(ClassSums(torch.stack([*own, *constants], 1), terms), prepared)

    def per_class(self, s: ClassSums) -> Tensor:
        """Share of the squared distances that is wrong, (B, C)."""
        return ratio(s.d2 - s.psi + 2 * s.map - s.map2, s.d2)
