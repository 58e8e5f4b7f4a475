"""Exclusion loss."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, any_over_batch
from medloss.sums.numeric import ratio
from medloss_compound.partial_labels import excluded


def exclusion(s: ClassSums, smooth_dr: float) -> Tensor:
    """Exclusion Dice 2 Σ e p / (Σ e + Σ p), 0 where both are empty.

    Args:
        s: sums of ``tp``, ``p`` and ``t``, with e in place of the target.
        smooth_dr: added to the denominator.
    """
    return ratio(2 * s.tp, s.p + s.t + smooth_dr)


@options
class ExclusionLoss(SegmentationLoss):
    """Overlap of each class with the voxels whose label tells that it is not there.

    Formula:
        L = 2 Σ e p / (Σ e + Σ p + smooth_dr) for each sample and class; e is 1 where a voxel is
        labelled as a class that excludes this one: for an annotated class every other label, for
        the background and for a class that was not annotated every annotated class but the
        background.

    Beside a loss that learns what was annotated, such as ``marginal``: classes that were not
    annotated in a sample (``present``) must at least keep out of the organs that were. For
    exclusive classes.

    Range: [0, 1].

    Empty target:
        for a class that was not annotated, value 0 and gradient 0: nothing tells where it is not.

    Args:
        unannotated_only: only classes that were not annotated are penalised, as ``marginal``
            teaches the others already; without ``present`` the value is 0.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.1, 0.7], [0.6, 0.1], [0.3, 0.2]]).view(1, 3, 1, 2)
        >>> y = torch.tensor([[[[1, 0]]]])  # class 2 was not annotated
        >>> loss = ExclusionLoss(unannotated_only=True, smooth_dr=0)
        >>> round(loss(p, y, present=[[1, 1, 0]]).item(), 4)  # 2 * 0.3 / (1 + 0.5)
        0.4

    Source:
        Shi 2021, arXiv:2007.03868.
    """

    unannotated_only: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigmoid:
            raise ValueError("sigmoid: expected exclusive classes, independent ones may overlap")

    def compute(self, prepared: Prepared) -> Tensor:
        """Sums with the excluded voxels as target, then their overlap."""
        counts = self._counts(prepared)
        without = replace(prepared, target=excluded(prepared), present=None)
        s = without.sums(("tp", "p", "t"))
        if counts is not None:
            s = s.only(counts)
        if self.batch is not False:
            s = s.over_batch(self.batch)
            counts = None if counts is None else any_over_batch(counts, self.batch)
        if not self.include_background:
            s = s.without_background()
            counts = None if counts is None else counts[:, 1:]
        return self.reduce_classes(exclusion(s, self.smooth_dr), counts)

    def _counts(self, prepared: Prepared) -> Tensor | None:
        """Classes that are penalised, (B, C), or None for all."""
        if not self.unannotated_only:
            return None
        shape, device = prepared.values.shape[:2], prepared.values.device
        if prepared.present is None:
            return torch.zeros(shape, dtype=torch.bool, device=device)
        return ~prepared.present
