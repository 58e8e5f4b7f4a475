"""Generalised surface loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medloss.base import options
from medloss.base.distance_maps import masks_of_classes
from medloss.base.targets import Prepared
from medloss.distance import Convention
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss_boundary.distance_loss import DistanceLoss

MAPS = ("squared_distance", "squared_distance_signed_by_target")
"""Names of the maps D² and ψ."""
CONSTANTS = (Term("d2"), Term("psi"))


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
