"""Boundary difference over union."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import RegionLoss, known_voxels, masks_of_classes, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss_boundary.rims import rim

EMPTY = ("mean_square", "zero")
COUNTS = (Term("rim"), Term("size"))


@options
class BoundaryDoULoss(RegionLoss):
    """Boundary difference over union: overlap whose inside counts less the larger the object.

    Formula:
        L = (Σ p² + Σ g² − 2 Σ p g) / (Σ p² + Σ g² − (1 + α) Σ p g) for each sample and class;
        α = 1 − 2 C / S within [lowest_alpha, highest_alpha], C the voxels of the target that have a
        face neighbour outside of it or beyond the image, S all of its voxels. An ignored neighbour
        is not outside.

    α is a number of voxels over another: no spacing is needed. Small objects have α = 0, which is
    1 − Jaccard with squares; α of large ones grows to 0.8, and what is wrong near the boundary
    then decides. Beside a region or distribution loss it trains well, alone it may.

    Range: [0, 1].

    Empty target:
        the formula is 1 whatever is predicted, with gradient 0; in its place stands the mean of p²
        (``empty="mean_square"``), or 0 (``"zero"``).

    The authors' code differs: it has α = −1 for a single voxel (``lowest_alpha=-1`` is theirs),
    pools α over the batch (``batch=True`` does), and knows 2D alone.

    Args:
        lowest_alpha: least α.
        highest_alpha: largest α, below 1.
        empty: ``"mean_square"`` or ``"zero"``.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> round(BoundaryDoULoss(lowest_alpha=-1)(p, g).item(), 12)
        0.108523908524

    Source:
        Sun 2023, arXiv:2308.00220.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    two_channels_equal_one: ClassVar[bool] = True

    lowest_alpha: float = 0.0
    highest_alpha: float = 0.8
    empty: Literal["mean_square", "zero"] = "mean_square"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.lowest_alpha <= self.highest_alpha < 1:
            raise ValueError(
                "lowest_alpha, highest_alpha: expected -1 <= lowest_alpha <= highest_alpha < 1, "
                f"got {self.lowest_alpha!r} and {self.highest_alpha!r}"
            )
        if self.empty not in EMPTY:
            raise ValueError(f"empty: expected one of {EMPTY}, got {self.empty!r}")

    def terms(self) -> tuple[str, ...]:
        """Sums of overlap and of squares, and the number of voxels."""
        return ("tp", "pp", "tt", "v")

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Add the counts of the target, which may be pooled as the sums are."""
        mask, known = masks_of_classes(prepared), known_voxels(prepared)
        if known is not None:
            mask = mask & known
        counts = [each.flatten(2).sum(2).to(s.values) for each in (rim(mask, known), mask)]
        own = [s[name] for name in self.terms()]
        terms = (*map(Term, self.terms()), *COUNTS)
        return super().from_sums(ClassSums(torch.stack([*own, *counts], 1), terms), prepared)

    def per_class(self, s: ClassSums) -> Tensor:
        """Of each sample and class, (B, C)."""
        alpha = 1 - 2 * ratio(s.rim, s.size)
        alpha = alpha.clamp(self.lowest_alpha, self.highest_alpha)
        squares = s.pp + s.tt
        value = ratio(squares - 2 * s.tp, squares - (1 + alpha) * s.tp)
        absent = ratio(s.pp, s.v) if self.empty == "mean_square" else torch.zeros_like(s.pp)
        return torch.where(s.tt > 0, value, absent)
