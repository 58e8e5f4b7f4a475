"""Dice and Jaccard losses that are least at p = g for soft labels too."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.sums import ClassSums
from medloss_region.dice import overlap


@options
class SemimetricBase(RegionLoss):
    """One minus what is common over that and Σ |p − g|, counted ``differences`` times."""

    two_channels_equal_one: ClassVar[bool] = True
    differences: ClassVar[int]

    variant: str = ""

    @property
    def from_volumes(self) -> bool:
        """Whether the overlap comes from volumes and Σ |p − g|, as in dml1 and jml1."""
        return self.variant.endswith("1")

    def terms(self) -> tuple[str, ...]:
        """Sums that the variant needs."""
        return ("l1", "p", "t") if self.from_volumes else ("l1", "tp")

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the coefficient, (B, C)."""
        common = 2 * (overlap(s, soft_label=True) if self.from_volumes else s.tp)
        whole = common + self.differences * s.l1
        return 1 - (common + self.smooth_nr) / (whole + self.smooth_dr)


@options
class DiceSemimetricLoss(SemimetricBase):
    """Dice loss that is least at p = g for soft labels too.

    Formula:
        for each sample and class, with d = Σ |p − g|:
        dml1: L = 1 − (Σ p + Σ g − d + smooth_nr) / (Σ p + Σ g + smooth_dr);
        dml2: L = 1 − (2 Σ p g + smooth_nr) / (2 Σ p g + d + smooth_dr).
        For labels of 0 and 1 both are the Dice loss; dml1 is ``dice`` with ``soft_label=True``.

    Range: [0, 1]; 0 exactly at p = g.

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    For label smoothing, averaged raters and resampled labels: the plain Dice loss of a label 0.5 is
    least at p = 1.

    Args:
        variant: ``"dml1"`` or ``"dml2"``.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[0.8, 0.6, 0.1], [0, 0, 0.3]]]], dtype=torch.float64)
        >>> round(DiceSemimetricLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.247058823529

    Source:
        Wang 2023, arXiv:2303.16296.
    """

    variant: Literal["dml1", "dml2"] = "dml1"
    differences: ClassVar[int] = 1


@options
class JaccardMetricLoss(SemimetricBase):
    """Jaccard loss that is least at p = g for soft labels too.

    Formula:
        for each sample and class, with d = Σ |p − g|:
        jml1: L = 1 − (Σ p + Σ g − d + smooth_nr) / (Σ p + Σ g + d + smooth_dr);
        jml2: L = 1 − (2 Σ p g + smooth_nr) / (2 Σ p g + 2 d + smooth_dr).
        For labels of 0 and 1 both are the Jaccard loss; jml1 is ``jaccard`` with
        ``soft_label=True``.

    Range: [0, 1]; 0 exactly at p = g.

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    For label smoothing, averaged raters and resampled labels: the plain Jaccard loss of a label 0.5
    is least at p = 1.

    Args:
        variant: ``"jml1"`` or ``"jml2"``.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[0.8, 0.6, 0.1], [0, 0, 0.3]]]], dtype=torch.float64)
        >>> round(JaccardMetricLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.396226415094

    Source:
        Wang 2023, arXiv:2302.05666.
    """

    variant: Literal["jml1", "jml2"] = "jml1"
    differences: ClassVar[int] = 2
