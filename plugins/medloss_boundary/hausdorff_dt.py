"""Hausdorff distance losses on distance transforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.distance import Convention
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss_boundary.distance_losses import DistanceLoss

MAP = "powers_of_distances"
"""Name of the map φ."""


@options
class HausdorffDTLoss(DistanceLoss):
    """Hausdorff distance loss: squared error times distances to both boundaries, in mm^alpha.

    Formula:
        L = Σ_v (p − g)² (d_g^alpha + d_p^alpha) / N for each sample and class, d_g the distance of
        the voxel in mm to the boundary of the target, d_p to that of the prediction, p > 0.5, both
        inside and outside; ``one_sided``: without d_p. N is the number of voxels that count.

    The distances are constants: the gradient passes through (p − g)² alone, as in the paper. Of the
    prediction they are found anew in every step (one transform of each class), in float32 whatever
    the input, so that squares beyond 65504 mm² are no concern. ``one_sided`` with a ready
    ``distance_map`` finds none.

    Range: [0, ∞), in mm^alpha; it grows with the distance of the errors: scale it against the
        region loss beside it.

    Empty target:
        distances are then those to the image border (``empty="distance_to_border"``), likewise for
        a class that fills the image; false positives cost something. ``"zero"`` is MONAI and the
        paper's code: with an empty target a constant prediction costs nothing. A perfect prediction
        has value and gradient 0, so it does not train alone from a bad start.

    Spacing is taken as in ``boundary``.

    MONAI differs: it has no spacing, and ``empty="zero"``; otherwise value and gradient are equal.

    Args:
        alpha: exponent of the distances.
        include_background: whether class 0 counts; here it does not by default, as in MONAI.
        one_sided: leave out the distances to the prediction.
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        convention: ``"symmetric"`` (between voxel centres, as the paper), ``"surface"`` or
            ``"kervadec"``.
        empty: ``"distance_to_border"`` or ``"zero"``.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> loss = HausdorffDTLoss(spacing_mm=1.0, include_background=True)
        >>> round(loss(p, g).item(), 12)
        0.1464

    Source:
        Karimi 2019, arXiv:1904.10030, equations 8 to 10.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "alpha",
        *SegmentationLoss.positional,
        "reduction",
        "batch",
    )

    include_background: bool = False
    alpha: float = 2.0
    one_sided: bool = False
    convention: Convention = "symmetric"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.alpha > 0:
            raise ValueError(f"alpha: expected more than 0, got {self.alpha!r}")

    def terms(self) -> tuple[str | Term, ...]:
        """Σ (p − g)² φ and the number of voxels."""
        return (Term("map2", map=MAP), "v")

    @torch.no_grad()
    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """φ, the powers of the distances."""
        ready = prepared.extras.distance_map is not None
        field = self.to_target(prepared)
        field = _power(field.clone() if ready else field, self.alpha)
        if not self.one_sided:
            field = _power(self.to_prediction(prepared), self.alpha).add_(field)
        return {MAP: field}

    def is_additive(self, prepared: Prepared) -> bool:
        """With a ready map and nothing else."""
        return self.one_sided and prepared.extras.distance_map is not None

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean of (p − g)² φ over the voxels, (B, C)."""
        return s["map2", MAP] / s.v.clamp_min(1)


def _power(signed: Tensor, exponent: float) -> Tensor:
    """|d|^exponent, in the memory of the map."""
    return signed.square_() if exponent == 2 else signed.abs_().pow_(exponent)


@options
class LogHausdorffDTLoss(HausdorffDTLoss):
    """Logarithm of one plus the Hausdorff distance loss, to tame its scale.

    Formula:
        L = log(1 + H) for each sample, H the mean over the classes that count of the loss of
        ``hausdorff_dt``; then the mean over samples.

    MONAI differs: it takes the logarithm of the mean over the batch, so that what else is in the
    batch changes the gradient of a sample. For a single sample both are equal.

    Range: [0, ∞).

    Empty target:
        as ``hausdorff_dt``.

    Args:
        alpha: exponent of the distances.
        one_sided: leave out the distances to the prediction.
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        convention: ``"symmetric"``, ``"surface"`` or ``"kervadec"``.
        empty: ``"distance_to_border"`` or ``"zero"``.
        weight: none; the logarithm is taken of all classes together.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> loss = LogHausdorffDTLoss(spacing_mm=1.0, include_background=True)
        >>> round(loss(p, g).item(), 12)
        0.136626597532

    Source:
        MONAI's LogHausdorffDTLoss, on Karimi 2019, arXiv:1904.10030.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight is not None:
            raise ValueError("weight: expected None, all classes together have one value")

    def per_class(self, s: ClassSums) -> Tensor:
        """One value for each sample, (B, 1)."""
        annotated = (s.v > 0).to(s.v)
        each = super().per_class(s) * annotated
        return torch.log1p(ratio(each.sum(1, keepdim=True), annotated.sum(1, keepdim=True)))
