"""Soft Dice loss."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, SegmentationLoss, options
from medloss.sums import ClassSums


def soft_dice(
    overlap: Tensor,
    prediction: Tensor,
    target: Tensor,
    *,
    smooth_nr: float,
    smooth_dr: float,
    jaccard: bool = False,
) -> Tensor:
    """Soft Dice coefficient D = 2 Σpg / (Σp + Σg), or J = Σpg / (Σp + Σg − Σpg).

    Args:
        overlap: Σ p g.
        prediction: Σ p, or Σ p² for the squared form.
        target: Σ g, or Σ g².
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.
        jaccard: J instead of D, written 2 Σpg / 2 (Σp + Σg − Σpg) so that smoothing is alike.
    """
    if jaccard:
        return (2 * overlap + smooth_nr) / (2 * (prediction + target - overlap) + smooth_dr)
    return (2 * overlap + smooth_nr) / (prediction + target + smooth_dr)


def overlap(s: ClassSums, *, soft_label: bool) -> Tensor:
    """Σ p g, or (Σp + Σg − Σ|p − g|) / 2, which reaches Σ g at p = g for soft labels too."""
    return (s.p + s.t - s.l1) / 2 if soft_label else s.tp


@options
class DiceBase(RegionLoss):
    """Options and sums that the losses on the soft Dice coefficient share."""

    squared_pred: bool = False
    soft_label: bool = False

    two_channels_equal_one: ClassVar[bool] = True

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        if self.squared_pred:
            return ("tp", "pp", "tt")
        return ("l1", "p", "t") if self.soft_label else ("tp", "p", "t")

    def coefficient(self, s: ClassSums, *, jaccard: bool = False) -> Tensor:
        """Soft Dice or Jaccard coefficient of each sample and class, (B, C)."""
        if self.squared_pred:  # Σpg is right for soft labels here: (p − g)² is in the denominator
            sums = s.tp, s.pp, s.tt
        else:
            sums = overlap(s, soft_label=self.soft_label), s.p, s.t
        return soft_dice(*sums, smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr, jaccard=jaccard)


@options
class DiceLoss(DiceBase):
    """Soft Dice loss, linear or squared, or its Jaccard form.

    Formula:
        L = 1 − (2 Σ p g + smooth_nr) / (Σ p + Σ g + smooth_dr) for each sample and class;
        squared_pred: Σ p² and Σ g² below; jaccard: (Σ p g) / (Σ p + Σ g − Σ p g);
        soft_label: Σ p g is (Σ p + Σ g − Σ |p − g|) / 2, whose minimum is p = g for soft labels.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing: Dice alone does not teach a model
        to leave an empty image empty; add cross entropy, ``batch=True``, or smoothing near 1.

    Args:
        squared_pred: squares in the denominator (V-Net).
        jaccard: the Jaccard (IoU) form.
        soft_label: the formula that is right for labels between 0 and 1.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(DiceLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.415730337079

    Source:
        Milletari 2016, arXiv:1606.04797 (squared); Drozdzal 2016, arXiv:1608.04117 (linear);
        Wang 2023, arXiv:2303.16296 (soft labels).
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "squared_pred",
        "jaccard",
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
        "weight",
        "soft_label",
        "ignore_index",
    )

    jaccard: bool = False

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the coefficient, (B, C)."""
        return 1 - self.coefficient(s, jaccard=self.jaccard)
