"""Skeleton recall loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio

MAP = "skeleton"
TERMS = (Term("tp_map", map=MAP), Term("t_map", map=MAP))


@options
class SkeletonRecallLoss(RegionLoss):
    """Skeleton recall: share of the true tubed skeleton that the prediction misses.

    Formula:
        L = 1 − (Σ s g p + smooth_nr) / (Σ s g + smooth_dr) for each sample and class, s the ready
        skeleton, thickened to a tube; what of it lies beyond the target g does not count.

    ``SkeletonMapd`` makes the skeletons once, in the data pipeline; they are the extra
    ``skeleton``, (B, C, *spatial), best of a byte each, as it makes them. The loss is then two more
    sums over the true class of each voxel, in the pass of whatever stands beside it.

    Range: [0, 1] for smooth_nr = smooth_dr.

    Empty target:
        value 0 and gradient 0: nothing can be missed. False positives cost nothing, with any
        target: train it beside a region loss, with weight 1.

    Cost:
        beside ``dice_ce`` in ``compound`` 0.15 times its CPU time, with integer labels.
        (docs/examples/measure_topology_losses.py)

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
        >>> g[..., 2:5, :] = 1
        >>> p = 0.1 + 0.8 * g
        >>> p[..., 2:5, 4] = 0.2  # a gap
        >>> line = torch.zeros_like(g)
        >>> line[..., 3, 0:8] = 1
        >>> round(SkeletonRecallLoss(smooth_nr=0, smooth_dr=0)(p, g, skeleton=line).item(), 12)
        0.1875

    Source:
        Kirchhoff 2024, arXiv:2404.03010.
    """

    two_channels_equal_one: ClassVar[bool] = True

    def check(self, prepared: Prepared) -> None:
        """Refuse to go without skeletons."""
        super().check(prepared)
        if prepared.extras.skeleton is None:
            raise ValueError(
                "skeleton: expected (B, C, *spatial), as keyword of the call or key of the target "
                "mapping, got none; medloss.integrations.skeletons.SkeletonMapd makes it"
            )

    def terms(self) -> tuple[Term, ...]:
        """Σ s g p and Σ s g."""
        return TERMS

    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """The skeletons."""
        return {} if prepared.extras.skeleton is None else {MAP: prepared.extras.skeleton}

    def is_additive(self, prepared: Prepared) -> bool:
        """The skeletons are ready."""
        return True

    def per_class(self, s: ClassSums) -> Tensor:
        """Of each sample and class, (B, C)."""
        missed = s.t_map - s.tp_map + self.smooth_dr - self.smooth_nr
        return ratio(missed, s.t_map + self.smooth_dr)
