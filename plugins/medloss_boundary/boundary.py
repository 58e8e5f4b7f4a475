"""Boundary loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.distance import CONVENTIONS, EMPTY, signed_distance
from medloss.spacing import SpacingLike, parse_spacing
from medloss.sums import ClassSums, Term
from medloss.targets import Prepared


@options
class BoundaryLoss(RegionLoss):
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
    A ready ``distance_map`` needs no spacing and saves the transform.

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

    two_channels_equal_one: ClassVar[bool] = True

    spacing_mm: SpacingLike | None = None
    convention: Literal["surface", "kervadec", "symmetric"] = "surface"
    empty: Literal["distance_to_border", "zero"] = "distance_to_border"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.convention not in CONVENTIONS:
            raise ValueError(f"convention: expected one of {CONVENTIONS}, got {self.convention!r}")
        if self.empty not in EMPTY:
            raise ValueError(f"empty: expected one of {EMPTY}, got {self.empty!r}")

    @property
    def term(self) -> Term:
        """The sum Σ p φ; losses with equal options share one map."""
        return Term("map", f"signed_distance:{self.convention}:{self.empty}:{self.spacing_mm}")

    def terms(self) -> tuple[str | Term, ...]:
        """Σ p φ and the number of voxels."""
        return (self.term, "v")

    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """The signed distance map of the target."""
        ready = prepared.extras.distance_map
        return {str(self.term.parameter): self.distance_map(prepared) if ready is None else ready}

    def distance_map(self, prepared: Prepared) -> Tensor:
        """The map, computed from the target.

        Raises:
            ValueError: nothing says how large a voxel is.
        """
        batch, _, *spatial = prepared.input.shape
        spacing = prepared.spacing_mm
        if self.spacing_mm is not None and not prepared.spacing_was_given:
            spacing = parse_spacing(self.spacing_mm, batch=batch, axes=len(spatial))
        if spacing is None:
            raise ValueError(
                "spacing_mm: expected the size of a voxel (as option, keyword of the call, key of "
                "the target mapping, or in a MetaTensor), got none; 'voxel' asks for voxel units"
            )
        return signed_distance(
            prepared.one_hot() > 0.5,
            spacing,
            convention=self.convention,
            empty=self.empty,
            dtype=prepared.input.dtype,
        )

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean of p φ over the voxels, (B, C)."""
        return s.map / s.v.clamp_min(1)
